"""Reach and length of several networks, as one record: what `diagnostics.gradflow` measures and keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from unrolled.environment import VOLATILE, Environment
from unrolled.gradients.lengths import LengthResult, measure_lengths
from unrolled.gradients.reach import Reach, Subject, in_order, measure_reach
from unrolled.output.progress import ProgressLine

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
    every_profile: bool = False

    def reach_frame(self) -> pd.DataFrame:
        """A row per network, or per profile of the one network, with verdict and norms at some lags."""
        frame = pd.DataFrame([row for reach in self.reaches for row in reach.rows(self.every_profile)])
        if "horizon" in frame:
            frame["horizon"] = frame["horizon"].astype(float)  # NaN where there is none
        return frame

    def flow_frame(self) -> pd.DataFrame:
        """A row per network, profile and step."""
        frames = [reach.frame() for reach in self.reaches if reach.flow is not None]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def lengths_frame(self) -> pd.DataFrame:
        """A row per network, length and way of clipping."""
        frame = pd.DataFrame(
            [result.to_dict() for result in self.lengths],
            columns=[field.name for field in fields(LengthResult)],
        )
        frame["problem"] = [result.problem or "" for result in self.lengths]
        for name in FLOAT32:  # a NaN that float32 reported is something else than no report
            frame[f"has_{name}"] = [getattr(result, name) is not None for result in self.lengths]
            frame[name] = frame[name].astype(float)
        return frame

    def lengths_table(self) -> pd.DataFrame:
        """`lengths_frame` as it goes to a file: what plain float32 has no name for is left empty."""
        frame = self.lengths_frame()
        for name in FLOAT32:
            frame[name] = frame[name].astype(object).where(frame.pop(f"has_{name}"), "")
        return frame

    def to_json(self) -> str:
        """All of it but samples and tensors, without a date: the same study gives the same text."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "loss": self.loss,
            "seed": self.seed,
            "environment": {k: v for k, v in self.environment.to_dict().items() if k != VOLATILE[0]},
            "networks": self.networks,
            "reach": [_reach_record(reach) for reach in self.reaches],
            "lengths": [_plain(result.to_dict()) for result in self.lengths],
        }
        return json.dumps(content, allow_nan=False, indent=1) + "\n"


def measure(
    networks: Sequence[Subject],
    length_networks: Sequence[Subject],
    *,
    lengths: Sequence[int],
    clips: Sequence[str],
    loss: str = "last",
    seed: int = 0,
    every_profile: bool = False,
    progress: ProgressLine | None = None,
) -> Study:
    """Run every network at its own length, then those of `length_networks` at every one of `lengths`.

    A clip of mode `step` changes the profile itself, so with it each network is run once more.
    """
    reach_clips = ["none", *(clip for clip in clips if clip.startswith("step"))]
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
        every_profile,
    )


def _say(progress: ProgressLine | None, what: str) -> None:
    if progress:
        progress.show(what)


def _advance(progress: ProgressLine | None) -> None:
    if progress:
        progress.advance()


def _reach_record(reach: Reach) -> dict[str, Any]:
    flow = None
    verdicts: list[dict[str, Any]] = []
    if reach.flow is not None:
        flow = {name: value for name, value in reach.flow.to_dict().items() if name != "environment"}
        verdicts = [{"profile": p.label, **_plain(p.verdict.to_dict())} for p in in_order(reach.flow)]
    bound = reach.bound
    return {
        "network": reach.network,
        "clip": reach.clip,
        "problem": reach.problem,
        "verdicts": verdicts,
        "bound": None
        if bound is None
        else {"slope": bound.slope, "sigma_max": bound.sigma_max, "spectral_radius": bound.spectral_radius},
        "flow": flow,
    }


def _plain(value: Any) -> Any:
    """NaN and inf as text, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
