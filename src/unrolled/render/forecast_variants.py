"""The variants of a forecast study as its plots show them: those that are one training, bit for bit, are one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unrolled.render.text import listed

if TYPE_CHECKING:
    import pandas as pd

TRAINED = ["iteration", "loss", "log10_norm"]  # what is alike in every iteration of two trainings that are one


@dataclass(frozen=True)
class Variant:
    """A network under one or more ways of clipping that made no difference at all; the first stands for them."""

    network: str
    clips: tuple[str, ...]

    @property
    def title(self) -> str:
        """`RNN tanh, no clip and norm:10`."""
        return f"{self.network}, {self.how}"

    @property
    def how(self) -> str:
        """Its ways of clipping."""
        return listed(["no clip" if clip == "none" else clip for clip in self.clips])

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Of a frame with a network and a clip in each row, those of the first of its clips."""
        return frame[(frame["network"] == self.network) & (frame["clip"] == self.clips[0])]


def variants_of(runs: pd.DataFrame, history: pd.DataFrame) -> list[Variant]:
    """All variants in order: together where weights are the same in the end, and every loss and norm before."""
    found: dict[tuple[object, ...], list[str]] = {}
    for (network, clip), part in runs.groupby(["network", "clip"], sort=False):
        own = history[(history["network"] == network) & (history["clip"] == clip)]
        weights = tuple(zip(part["seed"], part["weights"], strict=True))
        trained = own[["seed", *TRAINED]].to_numpy(dtype=float)
        trained = np.where(np.isnan(trained), np.nan, trained)  # one NaN has many spellings
        found.setdefault((network, weights, trained.tobytes()), []).append(str(clip))
    return [Variant(str(network), tuple(clips)) for (network, *_), clips in found.items()]


def sameness(variants: Sequence[Variant]) -> str:
    """On those that stand together; nothing where there are none."""
    said = []
    for clips in dict.fromkeys(variant.clips for variant in variants if len(variant.clips) > 1):
        never = listed([clip for clip in clips if clip != "none"], most=len(clips))
        if "none" in clips:
            said.append(f"{never} never acted: the training is the one without a clip, bit for bit.")
        else:
            said.append(f"{never} made one training, bit for bit.")
    return " ".join(said)
