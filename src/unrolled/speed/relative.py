"""One setting against another: the same benchmark on more threads, in another dtype or layout, as a ratio of times.

Both were timed in the same passes, but not in the same rounds. The logarithms of their times are subtracted pass by
pass, which takes out what a pass did to both, and the interval comes from how these differences differ: `Passes` and
`Drift` as for ratios within a round. Of a single pass the difference is that of two independent medians.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from unrolled.networks.options import PLAIN
from unrolled.speed.result import Result
from unrolled.speed.statistics import NOTHING, RESOLUTION, Drift, Estimate, Interval, Passes, verdict

if TYPE_CHECKING:
    import pandas as pd

AXES = ("threads", "dtype", "bias", "batch_first", "dropout", "packed")
# Differences of passes vary by all that there is, so that nothing is left for the rounds within them to say.
_WITHIN = 1e-18


@dataclass(frozen=True)
class Relative:
    """A result, the one of the first setting, and the time of this over the time of that."""

    result: Result
    first: Result
    interval: Interval

    def row(self, axis: str) -> dict[str, Any]:
        """One line of the tidy table: what `Result.row` says of the benchmark, then the comparison."""
        names = (
            "cell", "num_layers", "input_size", "hidden_size", "batch_size", "seq_len", "bidirectional", *PLAIN,
            "phase", "implementation", "reference", "device", "dtype", "threads", "status",
        )  # fmt: skip
        row = self.result.row()
        return {name: row[name] for name in names} | {
            "axis": axis,
            "first": setting(self.first, axis),
            "first_s": _seconds(self.first),
            "seconds": _seconds(self.result),
            "ratio": self.interval.ratio,
            "ratio_low": self.interval.low,
            "ratio_high": self.interval.high,
            "verdict": verdict(self.interval, RESOLUTION) if self.result.timed else self.result.status,
        }


def _seconds(result: Result) -> float:
    return math.exp(result.time.log) if result.timed else math.nan


def setting(result: Result, axis: str) -> Any:
    """What a result has on one of `AXES`."""
    return result.threads if axis == "threads" else getattr(result.workload, axis)


def relative(results: Sequence[Result], axis: str) -> list[Relative]:
    """Every result that has another setting than the first one, against the one that has it and all else alike.

    `axis` is one of `AXES`. The times of the reference are those of all its calls.
    """
    results = list(_with_references(results))
    settings = list(dict.fromkeys(setting(result, axis) for result in results))
    first = {_but_for(axis, each): each for each in results if setting(each, axis) == settings[0]}
    pairs = [
        (each, first[_but_for(axis, each)])
        for each in results
        if setting(each, axis) != settings[0] and _but_for(axis, each) in first
    ]
    differences = [_difference(*pair) for pair in pairs]
    drift = Drift.fit([each for each in differences if isinstance(each, Passes)])
    return [
        Relative(*pair, _interval(difference, drift))
        for pair, difference in zip(pairs, differences, strict=True)
    ]


def relative_frame(results: Sequence[Result]) -> pd.DataFrame:
    """The comparisons along all `AXES` with several settings as a tidy table; without columns where there are none."""
    import pandas as pd

    return pd.DataFrame([each.row(axis) for axis in AXES for each in relative(results, axis)])


def _but_for(axis: str, result: Result) -> Hashable:
    if axis == "threads":
        return result.workload, result.phase, result.implementation
    alike = {"dtype": "float64"} if axis == "dtype" else {axis: PLAIN[axis]}
    return result.workload.replace(**alike), result.threads, result.phase, result.implementation


def _with_references(results: Iterable[Result]) -> Iterable[Result]:
    """The results, of each race the reference with all its calls first."""
    races: dict[Hashable, list[Result]] = {}
    for result in results:
        races.setdefault(result.race, []).append(result)
    for race in races.values():
        calls = sorted((each for each in race if each.timed), key=lambda each: not each.is_reference)
        if calls:
            yield _reference(calls[0])
        else:
            yield from (each for each in race if each.is_reference)
        yield from (each for each in race if not each.is_reference)


def _reference(result: Result) -> Result:
    """The reference of a race, from one of its results: each round with the geometric mean of its calls."""
    calls = list(result.reference_seconds)
    if result.is_reference:
        calls = [call for pair in zip(calls, result.seconds, strict=True) for call in pair]
    each = len(calls) // len(result.seconds)
    means = tuple(math.prod(calls[k : k + each]) ** (1 / each) for k in range(0, len(calls), each))
    return replace(result, implementation="fused", seconds=means, reference_seconds=means)


def _difference(one: Result, other: Result) -> Passes | Estimate | None:
    """Of the logarithms of the times of two results: of each pass that both have, where there are several."""
    ours, theirs = one.pass_times(), other.pass_times()
    both = sorted(ours.keys() & theirs.keys())
    if len(both) > 1:
        return Passes(tuple(ours[number] - theirs[number] for number in both), _WITHIN)
    return one.time - other.time if both else None


def _interval(difference: Passes | Estimate | None, drift: Drift) -> Interval:
    if isinstance(difference, Passes):
        difference = difference.estimate(drift).in_any_run
    return difference.interval if difference else NOTHING
