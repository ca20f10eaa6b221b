"""Two runs of the same benchmarks: what changed, how surely, and whether that may pass.

Of a contender the ratio to the reference is judged, which the state of a machine moves least; of the reference, whose
ratio is 1, the time of a call. Both are logarithms with a standard error (see `statistics`), so the change between two
runs is a difference of two of them, with Student's t distribution of Welch's degrees of freedom.

A change counts as slower than a bound where

1. its whole 99 % interval lies beyond the bound, and
2. even the interval that holds for all changes of the comparison together, at 99 %, excludes that nothing changed
   (Šidák 1967, Journal of the American Statistical Association 62, 626-633).

The first says how large a change has to be. The second keeps the widest of a hundred intervals from failing by chance:
of simulated runs of 108 benchmarks that differ by nothing, on a machine so busy that passes differ by 4 to 8 % and in a
tenth of the benchmarks by 20 %, the first alone failed 6 %, both together 0.4 %. A change that is neither beyond its
bound nor wholly within stays undecided.

Many changes that stay undecided one by one can be sure together: the mean of the changes of an implementation over all
its benchmarks is judged by the same two rules. What moves the machine from one pass to the next moves all benchmarks of
the pass, so the error of a mean comes from the means of the passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.results.shown import Plotted
from unrolled.speed.grid import Case, shown_name
from unrolled.speed.result import Result
from unrolled.speed.run import Run
from unrolled.speed.statistics import CONFIDENCE, RUN, Drift, Estimate, Passes, student

KINDS = ("slower", "faster", "reference")
MOST = 10.0  # of a bound: eleven times as long
FAILED, NOT_TOLD = 1, 3  # exit statuses


@dataclass(frozen=True)
class Bound:
    """How much a benchmark may change: `slower:5%` of a ratio of times, or of the time of a reference.

    `faster:5%` is 1.05 times as fast. `reference:20%` is that much slower, and of references alone: their times move
    with the machine, which their contenders' ratios do not.
    """

    kind: str
    share: float

    @classmethod
    def parse(cls, text: str) -> Bound:
        """From `slower:5%` or `slower:0.05`. Raises `InvalidValueError` for anything else."""
        kind, _, number = text.partition(":")
        percent = number.endswith("%")
        try:
            share = float(number.removesuffix("%")) / (100 if percent else 1)
        except ValueError:
            share = math.nan
        if kind not in KINDS or not 0 <= share <= (MOST if percent else 1):
            raise InvalidValueError(
                f"expected slower:5%, got {text!r}; write {', '.join(KINDS[:-1])} or {KINDS[-1]}, a colon and a share "
                f"from 0% to {MOST:.0%}"
            )
        return cls(kind, share)

    def __str__(self) -> str:
        return f"{self.kind}:{100 * self.share:g}%"

    @property
    def sign(self) -> int:
        """Of the changes that it bounds, in logarithms of time."""
        return -1 if self.kind == "faster" else 1


# What is listed as changed where nothing may fail.
BOUNDS = (Bound("slower", 0.05), Bound("faster", 0.05))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is held to bounds: the change of a logarithm, after less before, of a time or of a ratio.

    `outcome` is `slower` or `faster` beyond a bound, `undecided`, or `within` all of them.
    """

    name: str  # of the implementation
    of_reference: bool  # the change of its time, and of a ratio otherwise
    change: Estimate
    outcome: str = ""


@dataclass(frozen=True, kw_only=True)
class Change(Judged):
    """One benchmark in both runs, and the change of the logarithm of its time."""

    before: Result
    after: Result
    time: Estimate


@dataclass(frozen=True, kw_only=True)
class Mean(Judged):
    """The mean change of one implementation over `count` benchmarks."""

    count: int


@dataclass(frozen=True)
class Turn:
    """A benchmark that is not as it was: its status in both runs, `new` before, or `gone` after."""

    label: str
    before: str
    after: str
    reason: str = ""

    @property
    def lost(self) -> bool:
        """Whether it had a time and has none."""
        return self.before == "ok"

    def __str__(self) -> str:
        after = "gone" if self.after == "gone" else self.after.upper() if self.after != "ok" else "ok"
        before = "was not there" if self.before == "new" else f"was {self.before}"
        return f"{self.label}: {after}{f' ({self.reason})' if self.reason else ''}, {before}"


@dataclass(frozen=True, repr=False)
class Comparison(Plotted):
    """What two runs of the same benchmarks show.

    `differences` are those of their environments, (before, after), that make times incomparable.
    """

    VIEW = "comparison"

    changes: tuple[Change, ...]
    means: tuple[Mean, ...]
    turns: tuple[Turn, ...]
    differences: Mapping[str, tuple[Any, Any]]
    bounds: tuple[Bound, ...]

    @property
    def beyond(self) -> list[Judged]:
        """The changes, and the means, that lie beyond a bound."""
        judged: tuple[Judged, ...] = (*self.changes, *self.means)
        return [each for each in judged if each.outcome in ("slower", "faster")]

    @property
    def undecided(self) -> list[Change]:
        """The benchmarks whose interval lies neither beyond a bound nor within all."""
        return [each for each in self.changes if each.outcome == "undecided"]

    @property
    def lost(self) -> list[Turn]:
        """The benchmarks that had a time and have none."""
        return [turn for turn in self.turns if turn.lost]

    @property
    def held(self) -> tuple[float, float]:
        """How well both runs agree: the share of ratios after that the interval before holds, and the reverse.

        Of runs of the same code on the same machine, exact 99 % intervals hold 93 %: both sides are uncertain.
        """
        pairs = [(each.before.interval, each.after.interval) for each in self.changes if not each.of_reference]
        after = [one.low <= two.ratio <= one.high for one, two in pairs]
        before = [two.low <= one.ratio <= two.high for one, two in pairs]
        return (float(np.mean(after)), float(np.mean(before))) if pairs else (math.nan, math.nan)

    @property
    def moved(self) -> float:
        """The median of how far ratios moved, either way: 0.02 is 2 %."""
        moves = [math.expm1(abs(each.change.log)) for each in self.changes if not each.of_reference]
        return float(np.median(moves)) if moves else math.nan

    def status(self, *, strict: bool = False) -> int:
        """The exit status of a gate: 1 for what fails, 3 where nothing can be told, 0 else.

        What is gone or WRONG fails on any machine, and times on other machines tell nothing. With `strict`, undecided
        benchmarks do not pass.
        """
        if self.lost:
            return FAILED
        if self.differences:
            return NOT_TOLD
        if self.beyond:
            return FAILED
        return NOT_TOLD if strict and self.undecided else 0


def compare_runs(
    before: Run, after: Run, bounds: Sequence[Bound] = BOUNDS, *, allowed: Sequence[str] = ()
) -> Comparison:
    """Match the benchmarks of two runs, and hold what changed to `bounds`.

    Fields of the environment that are `allowed` to differ are what is compared, a version of torch, say.
    Raises `ResultFileError` when the runs have no benchmark in common.
    """
    one, two = _by_case(before.settled), _by_case(after.settled)
    if not one.keys() & two.keys():
        raise ResultFileError(
            f"results: expected runs with benchmarks in common, got {len(one)} and {len(two)} different ones; "
            "run the same grid twice"
        )
    timed = [(one[case], two[case]) for case in one if case in two and one[case].timed and two[case].timed]
    changes = [_of_contender(*pair) for pair in timed if not pair[0].is_reference]
    changes += [_of_reference(*pair) for pair in _references(timed)]
    differences = before.environment.differences(after.environment)
    return Comparison(
        _judged(changes, bounds),
        _judged(_means(changes), bounds),
        tuple(_turns(one, two)),
        {name: pair for name, pair in differences.items() if name not in allowed},
        tuple(bounds),
    )


def _by_case(results: Iterable[Result]) -> dict[Case, Result]:
    """By what a benchmark is, whatever its weights were drawn from."""
    return {Case(r.workload.replace(seed=0), r.phase, r.implementation, r.threads): r for r in results}


def _of_contender(before: Result, after: Result) -> Change:
    change, time = after.estimate - before.estimate, after.time - before.time
    name = after.implementation
    return Change(name=name, of_reference=False, change=change, time=time, before=before, after=after)


def _of_reference(before: Result, after: Result) -> Change:
    time, name = after.reference_time - before.reference_time, shown_name(after.workload, "fused")
    return Change(name=name, of_reference=True, change=time, time=time, before=before, after=after)


def _references(pairs: Sequence[tuple[Result, Result]]) -> list[tuple[Result, Result]]:
    """Of each race one pair of results, whose reference is that of all: `fused` itself where it was timed."""
    ordered = sorted(pairs, key=lambda pair: not pair[0].is_reference)
    found: dict[Any, tuple[Result, Result]] = {}
    for pair in ordered:
        found.setdefault(pair[0].race, pair)
    return list(found.values())


def _turns(one: Mapping[Case, Result], two: Mapping[Case, Result]) -> Iterable[Turn]:
    for case in dict.fromkeys((*one, *two)):
        before = _state(one[case]) if case in one else "new"
        after = _state(two[case]) if case in two else "gone"
        if before != after:
            yield Turn(case.label, before, after, two[case].reason if case in two else "")


def _state(result: Result) -> str:
    return "without a time" if result.status == "ok" and not result.timed else result.status


def _means(changes: Sequence[Change]) -> list[Mean]:
    """One for each implementation that has several benchmarks."""
    groups: dict[tuple[str, bool], list[Change]] = {}
    for change in changes:
        groups.setdefault((change.name, change.of_reference), []).append(change)
    return [_mean_of(group) for group in groups.values() if len(group) > 1]


def _mean_of(changes: Sequence[Change]) -> Mean:
    first = changes[0]
    known, passes = _REFERENCE if first.of_reference else _RATIO
    before, after = (
        _mean([known(result) for result in side], [passes(result) for result in side])
        for side in ([each.before for each in changes], [each.after for each in changes])
    )
    return Mean(name=first.name, of_reference=first.of_reference, change=after - before, count=len(changes))


Known = tuple[Callable[[Result], Estimate], Callable[[Result], Passes]]
_RATIO: Known = (lambda result: result.estimate, lambda result: result.ratio_passes)
_REFERENCE: Known = (lambda result: result.reference_time, lambda result: result.reference_passes)


def _mean(estimates: Sequence[Estimate], passes: Sequence[Passes]) -> Estimate:
    """Over benchmarks. Its error is that of their mean in the passes that all have; of one pass, that of each.

    What moves a whole run moves each benchmark by itself, so it shrinks in their mean as rounds do.
    """
    log = float(np.mean([each.log for each in estimates]))
    shared, count = min(len(each.logs) for each in passes), len(passes)
    if shared > 1:
        logs = np.mean([each.logs[:shared] for each in passes], axis=0)
        within = float(np.mean([each.within for each in passes])) / count
        mean = replace(Passes(tuple(map(float, logs)), within).estimate(Drift()), log=log)
        return mean - Estimate(0.0, RUN / math.sqrt(count), math.inf)
    return Estimate(log, math.hypot(*(each.error for each in estimates)) / count, math.inf)


Some = TypeVar("Some", bound=Judged)


def _judged(all_of_them: Sequence[Some], bounds: Sequence[Bound]) -> tuple[Some, ...]:
    return tuple(replace(each, outcome=_outcome(each, bounds, len(all_of_them))) for each in all_of_them)


def _outcome(one: Judged, bounds: Sequence[Bound], of: int) -> str:
    change = one.change
    alone, together = (
        student(change.degrees, share) * change.error if change.error else 0.0
        for share in (CONFIDENCE, CONFIDENCE ** (1 / of))
    )
    outcome = "within"
    for bound in _for(one.of_reference, bounds):
        shift, limit = bound.sign * change.log, math.log1p(bound.share)
        if shift - alone > limit and shift > together:
            return "faster" if bound.sign < 0 else "slower"
        if shift + alone > limit:
            outcome = "undecided"
    return outcome


def _for(of_reference: bool, bounds: Sequence[Bound]) -> list[Bound]:
    """The bounds for a reference are its own, where there are some, in place of `slower`."""
    own = [bound for bound in bounds if bound.kind == "reference"]
    if not of_reference:
        return [bound for bound in bounds if bound.kind != "reference"]
    return own + [bound for bound in bounds if bound.kind == "faster" or (bound.kind == "slower" and not own)]
