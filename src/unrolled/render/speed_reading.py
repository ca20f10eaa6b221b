"""The frame of a run as its tables and plots read it: one time of each reference, and nothing told that is not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import InvalidValueError
from unrolled.render.speed_axes import ROW_AXES
from unrolled.speed.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

RACE = ["cell", *ROW_AXES, "phase", "device", "dtype"]  # what all contenders of a race share
LONGEST = 20  # characters of a name
HEAD = 7  # of them from where names begin to differ


@dataclass(frozen=True)
class Quantity:
    """What is shown of a contender beside its time, and in which words."""

    name: str
    what: str  # it says something about
    heading: str  # of a column; {} is what it is held against
    label: str  # of an axis
    below: str  # what lies below 1
    above: str
    sentence: str  # {name} and {mean}

    def turned(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With `ratio` and its interval, times over times in `frame`, as this quantity."""
        if self.name == "ratio":
            return frame
        inverted = {"ratio": "ratio", "ratio_low": "ratio_high", "ratio_high": "ratio_low"}
        return frame.assign(**{name: 1 / frame[source] for name, source in inverted.items()})


QUANTITIES = {
    each.name: each
    for each in (
        Quantity(
            "ratio", "time", "× {}", "time / time of {}", "faster", "slower", "{name} took {mean} times as long"
        ),
        Quantity(
            "speedup",
            "speedup",
            "speedup",
            "speedup over {}",
            "slower",
            "faster",
            "{name} was {mean} times as fast",
        ),
    )
}


def quantity(as_: str) -> Quantity:
    """`ratio` or `speedup`. Raises `InvalidValueError` for another word."""
    if as_ not in QUANTITIES:
        raise InvalidValueError(f"--as: expected {' or '.join(QUANTITIES)}, got {as_!r}")
    return QUANTITIES[as_]


def read(frame: pd.DataFrame, as_: str = "ratio") -> pd.DataFrame:
    """A run's frame with short names, and with what follows from its columns.

    `told` says whether an interval tells anything; where it does not, the verdict is `unclear`. All contenders of a
    race are shown against one time of the reference, the geometric mean of what it took beside each of them, so that
    times and ratios are in one order. As `speedup`, ratios and their intervals are turned round.
    """
    frame = frame.assign(told=[tells(*row) for row in _intervals(frame)])
    contender = frame["implementation"] != frame["reference"]
    timed = frame["rounds"] > 0
    frame["verdict"] = frame["verdict"].mask(timed & contender & ~frame["told"], "unclear")
    logs = np.log(frame["reference_median_s"])
    beside = logs.where(timed & contender).groupby([frame[name] for name in RACE], sort=False).transform("mean")
    reference = np.exp(beside.fillna(logs))
    median = (frame["ratio"] * reference).where(contender, reference)
    faster = frame["median_s"] / median
    names = short_names(frame["implementation"])
    frame = frame.assign(
        implementation=frame["implementation"].map(names),
        median_s=median.where(timed),
        reference_median_s=reference.where(timed),
        tokens_per_s=frame["tokens_per_s"] * faster,
        gflops=frame["gflops"] * faster,
        saved_bytes=frame["saved_bytes"].astype(float),
        compile_s=frame["compile_s"].astype(float),
    )
    return quantity(as_).turned(frame)


def _intervals(frame: pd.DataFrame) -> Iterable[tuple[float, float, float]]:
    return zip(frame["ratio"], frame["ratio_low"], frame["ratio_high"], strict=True)


def tells(ratio: float, low: float, high: float) -> bool:
    """Whether an interval says anything."""
    return Interval(ratio, low, high).tells


def short_names(names: Iterable[str], longest: int = LONGEST) -> dict[str, str]:
    """Each name, or its end where it is long: `…fast:build`. What would look alike keeps where it differs, too."""
    names = list(dict.fromkeys(names))
    short = {name: _ending(name, longest) for name in names}
    for shown in dict.fromkeys(short.values()):
        alike = [name for name in names if short[name] == shown]
        if len(alike) > 1:
            start = _where_they_differ(alike)
            short |= {name: name[start : start + HEAD] + _ending(name, longest - HEAD) for name in alike}
    for name in names[1:]:  # whatever is still alike is numbered
        earlier, shown = {short[other] for other in names[: names.index(name)]}, short[name]
        numbers = count(2)
        while short[name] in earlier:
            short[name] = f"{shown[: longest - 3]} #{next(numbers)}"
    return short


def _where_they_differ(names: list[str]) -> int:
    first, last = min(names), max(names)
    return next(k for k in range(len(last)) if first[k : k + 1] != last[k])


def _ending(name: str, longest: int) -> str:
    """From the beginning of a word on, where one begins early enough."""
    if len(name) <= longest:
        return name
    end = name[1 - longest :]
    word = re.search("[._:]", end[: len(end) // 2])
    return f"…{end[word.end() if word else 0 :]}"
