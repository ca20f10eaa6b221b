"""Reach and length of several networks, as one record: what `diagnostics.gradflow` measures and keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from unrolled.environment import VOLATILE, Environment
from unrolled.errors import ResultFileError
from unrolled.gradients.clipping import Clip
from unrolled.gradients.lengths import LengthResult, measure_lengths
from unrolled.gradients.reach import Reach, measure_reach
from unrolled.networks.subject import Subject, sizes_of, units_of
from unrolled.output.files import plain, read_json
from unrolled.progress import ProgressLine

FORMAT = "unrolled.gradflow"
VERSION = 1
FLOAT32 = ("float32_parameters", "float32_first")


@dataclass(frozen=True, eq=False)
class Study:
    """`reaches` and `lengths` of `networks`, with the loss, the seed and the machine."""

    networks: tuple[dict[str, Any], ...]
    reaches: tuple[Reach, ...]
    lengths: tuple[LengthResult, ...]
    loss: str
    seed: int
    environment: Environment

    @property
    def single(self) -> bool:
        """Whether one network was looked at, and so every profile of it is of interest."""
        return len({reach.network for reach in self.reaches}) == 1

    def reach_frame(self) -> pd.DataFrame:
        """A row per network, or per profile of the one network, with verdict and norms at some lags."""
        frame = pd.DataFrame([row for reach in self.reaches for row in reach.rows(self.single)])
        if "horizon" in frame:
            frame["horizon"] = frame["horizon"].astype(float)  # NaN where there is none
        return frame

    def flow_frame(self) -> pd.DataFrame:
        """A row per network, profile and step."""
        frames = [reach.frame() for reach in self.reaches if reach.flow is not None]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def lengths_frame(self) -> pd.DataFrame:
        """A row per network, length and way of clipping; `on_states` where that changes the profile itself."""
        frame = pd.DataFrame(
            [result.to_dict() for result in self.lengths],
            columns=[field.name for field in fields(LengthResult)],
        )
        frame["problem"] = [result.problem or "" for result in self.lengths]
        frame["on_states"] = [Clip.parse(result.clip).works_on_states for result in self.lengths]
        for name in FLOAT32:  # a NaN that float32 reported is something else than no report
            frame[f"has_{name}"] = [getattr(result, name) is not None for result in self.lengths]
            frame[name] = frame[name].astype(float)
        return frame

    def lengths_table(self) -> pd.DataFrame:
        """`lengths_frame` as it goes to a file: empty where torch has no such clipping in float32."""
        frame = self.lengths_frame().drop(columns="on_states")
        for name in FLOAT32:
            frame[name] = frame[name].astype(object).where(frame.pop(f"has_{name}"), "")
        return frame

    @property
    def units(self) -> str:
        """The hidden units of its networks, for titles."""
        return units_of(self.networks[0])

    def describe(self) -> str:
        """Two lines for the foot of a plot: what was measured, and on what machine."""
        first = self.networks[0]
        name = f"{first['name']}, " if self.single else ""
        loss = f"loss at {'the last step' if self.loss == 'last' else 'every step'}"
        return f"{name}{sizes_of(first)}, {loss}, seed {self.seed}\n{self.environment.describe()}"

    def to_json(self) -> str:
        """Everything but samples and tensors, without a date: the same study gives the same text."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "loss": self.loss,
            "seed": self.seed,
            "environment": {k: v for k, v in self.environment.to_dict().items() if k != VOLATILE[0]},
            "networks": self.networks,
            "reach": [reach.to_dict() for reach in self.reaches],
            "lengths": [plain(result.to_dict()) for result in self.lengths],
        }
        return json.dumps(content, allow_nan=False, indent=1) + "\n"


def load_study(path: Path) -> Study:
    """Read a `gradflow.json`: every number as it was measured, without samples and tensors.

    Raises `ResultFileError` for a file that is missing, damaged or of another version.
    """
    content = read_json(path, FORMAT, VERSION)
    try:
        study = Study(
            tuple(content["networks"]),
            tuple(Reach.from_dict(reach) for reach in content["reach"]),
            tuple(LengthResult.from_dict(result) for result in content["lengths"]),
            content["loss"],
            content["seed"],
            Environment(**content["environment"], load_average=None),
        )
        for lay_out in (study.describe, study.reach_frame, study.flow_frame, study.lengths_frame):
            lay_out()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ResultFileError(
            f"results: expected what gradflow wrote in {path}, got damage ({type(error).__name__}: {error}); "
            "run it again"
        ) from error
    return study


def measure(
    networks: Sequence[Subject],
    length_networks: Sequence[Subject],
    *,
    lengths: Sequence[int],
    clips: Sequence[str],
    loss: str = "last",
    seed: int = 0,
    progress: ProgressLine | None = None,
) -> Study:
    """Run every network at its own length, then those of `length_networks` at every one of `lengths`.

    A clip that works on states changes the profile itself, so with it each network is run once more.
    """
    reach_clips = ["none", *(clip for clip in clips if Clip.parse(clip).works_on_states)]
    if progress:
        progress.start(len(networks) * len(reach_clips) + len(length_networks) * len(lengths))
    reaches = []
    for network in networks:
        for clip in reach_clips:
            _say(progress, f"reach of {network.name}")
            reaches.append(measure_reach(network, loss, clip))
            _advance(progress)
    found: list[LengthResult] = []
    for network in length_networks:
        results = measure_lengths(network, lengths, clips, loss)
        for length in lengths:
            _say(progress, f"{network.name} at T = {length}")
            found += next(results)
            _advance(progress)
    described = {network.name: network.to_dict() for network in (*networks, *length_networks)}
    return Study(
        tuple(described.values()),
        tuple(reaches),
        tuple(found),
        loss,
        seed,
        Environment.capture(),
    )


def _say(progress: ProgressLine | None, what: str) -> None:
    if progress:
        progress.show(what)


def _advance(progress: ProgressLine | None) -> None:
    if progress:
        progress.advance()
