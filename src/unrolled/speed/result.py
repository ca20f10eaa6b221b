"""The record of one benchmark: raw rounds are kept, every figure is derived from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np

from unrolled.errors import InvalidValueError
from unrolled.implementations import network_of
from unrolled.networks.options import PLAIN
from unrolled.networks.workload import Workload
from unrolled.results.codec import IF_NOT_DEFAULT, UNSAVED, Count, Size, require
from unrolled.results.shown import Plotted
from unrolled.speed.grid import PHASES, shown_name
from unrolled.speed.network import WORDS, Network
from unrolled.speed.operations import flops
from unrolled.speed.statistics import (
    MIN_ROUNDS,
    NOTHING,
    RESOLUTION,
    Drift,
    Estimate,
    Interval,
    Passes,
    estimated,
    verdict,
)

if TYPE_CHECKING:
    import pandas as pd

STATUSES = ("ok", "wrong", "failed", "out of memory", "timed out")
# No clock shows less than a picosecond, nor has a race taken more than 30 years.
Seconds = Annotated[float, msgspec.Meta(ge=1e-12, le=1e9)]
Spent = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Difference = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
PARTS = ("check", "warm_up", "memory")  # of the time that a benchmark takes, besides its rounds
LARGEST_ERROR = (
    1e-6  # in float64, relative, of what may be timed; far above what the check before the clock allows
)
# Rounds in which the process was pre-empted are left out where at least so many others remain, in so many passes.
FEWEST_LEFT = MIN_ROUNDS
FEWEST_PASSES_LEFT = 3


@dataclass(frozen=True)
class Drifts:
    """What all benchmarks of a run show of how its passes differ: in ratios, and in times."""

    ratio: Drift = field(default_factory=Drift)
    time: Drift = field(default_factory=Drift)


@dataclass(frozen=True, kw_only=True, repr=False)
class Result(Plotted):
    """One (workload, phase, implementation): how it went, and the seconds of every round.

    In each round all contenders of the workload run, in random order, and the reference runs twice. `passes` says how
    many rounds each pass had. `seconds[k]` is that of round `k`; `reference_seconds` has the calls of the reference in
    the same rounds, one or two for each: `reference_seconds[2 * k]` and the one after it. Of `fused` itself, `seconds`
    are the second calls, and `reference_seconds` the first. `preempted` names the rounds in which this process had to
    leave a core to another one during any of their calls.
    The times between CUDA events are kept beside them. `recheck_error` is the largest error after the clock, in the
    timed dtype; NaN where it did not come to that. `spent_s` says where the time of the benchmark went, and `notes`
    what else the implementation did. `iterations` are those of each layer and direction, of an implementation that
    iterates; None where it gave up and went step by step. `network` says what another network is that was raced in its
    place, and what the reference is beside one. `drifts` and `noise_floor`, the largest ratio that the reference
    against itself shows on this workload and phase, come from all results of a run: see `settled`.
    """

    VIEW = "race"

    workload: Workload
    phase: str
    implementation: str
    threads: Threads
    status: str = "ok"
    reason: str = ""
    passes: tuple[Size, ...] = ()
    seconds: tuple[Seconds, ...] = ()
    reference_seconds: tuple[Seconds, ...] = ()
    preempted: tuple[Count, ...] = ()
    event_seconds: tuple[Spent, ...] = ()
    reference_event_seconds: tuple[Spent, ...] = ()
    equivalence_error: float = math.nan
    equivalence_where: str = ""
    recheck_error: float = math.nan
    saved_bytes: Count | None = None
    peak_bytes: Count | None = None
    compile_s: Difference | None = None
    uncompiled_s: Seconds | None = None
    spent_s: dict[str, Spent] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    iterations: tuple[Count | None, ...] = field(default=(), metadata=IF_NOT_DEFAULT)
    network: Network | None = field(default=None, metadata=IF_NOT_DEFAULT)
    drifts: Drifts = field(default_factory=Drifts, metadata=UNSAVED)
    noise_floor: float = field(default=math.nan, metadata=UNSAVED)

    def check(self) -> None:
        """Raise `ValueError` for what no race gives."""
        rounds, events = len(self.seconds), len(self.event_seconds)
        on_cuda = self.workload.device.startswith("cuda")
        require(self.status in STATUSES, f"a status among {', '.join(STATUSES)}")
        require(self.phase in PHASES, f"a phase among {', '.join(PHASES)}")
        require(bool(self.implementation), "a name of the implementation")
        require((self.status == "ok") != bool(self.reason), "a reason where it is not ok")
        require(self.status == "ok" or not self.timed, "no time of what is not ok")
        require(sum(self.passes) == rounds, "passes of all rounds")
        calls = len(self.reference_seconds)
        require(calls in (rounds, 2 * rounds), "one or two calls of the reference in each round")
        require(calls == rounds or self.implementation != "fused", "one call of the reference beside itself")
        require(events == 0 or (events == rounds and on_cuda), "an event for each round, on CUDA alone")
        require(len(self.reference_event_seconds) == (calls if events else 0), "events of both sides")
        marked = self.preempted
        require(all(a < b for a, b in pairwise((-1, *marked, rounds))), "pre-empted rounds in their order")
        error = self.equivalence_error
        require(not error < 0 and not (self.timed and error > LARGEST_ERROR), "a small error of what was timed")
        require(not self.recheck_error < 0, "an error of at least 0 after the clock")
        require(not (self.timed and self.recheck_error > 1), "a small error after the clock")
        if self.status not in ("ok", "wrong"):
            require(math.isnan(error) and not self.equivalence_where, "no error of what ended before its end")
            require(math.isnan(self.recheck_error), "no error of what ended before its end")
        require(self.timed or self.saved_bytes is None, "the bytes that are saved, of what was timed alone")
        require(
            self.phase == "training" or not self.saved_bytes, "no bytes that are saved for no backward pass"
        )
        measured = self.saved_bytes is not None and on_cuda
        require((self.peak_bytes is not None) == measured, "a peak of bytes on CUDA alone")
        require((self.compile_s is None) == (self.uncompiled_s is None), "both costs of compiling")
        require(self.timed or not self.iterations, "no iterations of what was not timed")
        require(self.timed or self.compile_s is None, "no cost of compiling of what was not timed")
        has_network, of_another = self.network is not None, self.is_another_network
        require(
            not has_network or (self.timed and (of_another or self.is_reference)), "a network that was timed"
        )
        require(has_network or not (self.timed and of_another), "what another network is")
        parts = set(self.spent_s)
        require(parts <= set(PARTS) and (parts == set(PARTS) or not self.timed), f"time of {', '.join(PARTS)}")

    @property
    def timed(self) -> bool:
        """Whether there are rounds to derive figures from."""
        return bool(self.seconds)

    @property
    def calls_of_reference(self) -> int:
        """In each round: one or two."""
        return len(self.reference_seconds) // len(self.seconds) if self.timed else 0

    @property
    def race(self) -> tuple[Workload, str, int]:
        """What all contenders of one race share."""
        return self.workload, self.phase, self.threads

    @property
    def is_reference(self) -> bool:
        """Whether it is the reference against itself."""
        return self.implementation == "fused"

    @property
    def is_another_network(self) -> bool:
        """Whether it computes something else, on purpose."""
        return network_of(self.implementation) is not None

    @property
    def cell(self) -> str:
        """That of the workload, or of another network."""
        return network_of(self.implementation) or self.workload.cell

    @cached_property
    def _left(self) -> np.ndarray:
        """Which rounds count: those not pre-empted, where enough of them are left, or all. No time is looked at."""
        left = np.ones(len(self.seconds), dtype=bool)
        left[list(self.preempted)] = False
        passes = sum(part.any() for part in np.split(left, np.cumsum(self.passes)[:-1]))
        enough = left.sum() >= FEWEST_LEFT and passes >= min(FEWEST_PASSES_LEFT, len(self.passes))
        return left if enough else np.ones_like(left)

    @property
    def rounds_left_out(self) -> int:
        """How many rounds do not count, since the process was pre-empted in them."""
        return int((~self._left).sum()) if self.timed else 0

    @cached_property
    def _in_passes(self) -> dict[int, int]:
        """How many rounds count of each pass that has any, by its number."""
        parts = np.split(self._left, np.cumsum(self.passes)[:-1])
        return {number: int(part.sum()) for number, part in enumerate(parts) if part.any()}

    @property
    def _rounds(self) -> list[int]:
        return list(self._in_passes.values())

    @cached_property
    def _reference_logs(self) -> np.ndarray:
        """The logarithms of the seconds of the reference, a row for each round that counts."""
        rounds: np.ndarray = np.reshape(self.reference_seconds, (len(self.seconds), -1))[self._left]
        logs: np.ndarray = np.log(rounds)
        return logs

    @cached_property
    def _ratio_logs(self) -> np.ndarray:
        """The logarithm of each round that counts: of its ratio, to the geometric mean of the reference's calls."""
        seconds: np.ndarray = np.array(self.seconds)[self._left]
        logs: np.ndarray = np.log(seconds) - self._reference_logs.mean(axis=1)
        return logs

    @property
    def _noise_logs(self) -> np.ndarray | None:
        """The same of the reference against itself, where it ran twice."""
        if self.is_reference:
            return self._ratio_logs
        both = self._reference_logs
        return both[:, 1] - both[:, 0] if both.shape[1] == 2 else None

    @cached_property
    def _in_this_run(self) -> Estimate:
        """The logarithm of the ratio, as sure as it is in this run."""
        return estimated(self._ratio_logs, self._rounds, self.drifts.ratio)

    @cached_property
    def estimate(self) -> Estimate:
        """The logarithm of the ratio, in any run. That of the reference to itself no run moves: it is one module."""
        return self._in_this_run if self.is_reference else self._in_this_run.in_any_run

    @cached_property
    def reference_time(self) -> Estimate:
        """The logarithm of the seconds of a call of the reference."""
        return estimated(self._reference_logs.mean(axis=1), self._rounds, self.drifts.time).in_any_run

    @cached_property
    def time(self) -> Estimate:
        """The logarithm of the seconds of a call of the implementation: that of the reference and of the ratio."""
        own = estimated(np.log(self.seconds)[self._left], self._rounds, self.drifts.time).in_any_run
        return replace(own, log=self.reference_time.log + self.estimate.log)

    @cached_property
    def _call_logs(self) -> np.ndarray:
        """The logarithm of the seconds in each round that counts; of the reference, that of both its calls."""
        logs: np.ndarray = np.log(self.seconds)[self._left]
        return (logs + self._reference_logs[:, 0]) / 2 if self.is_reference else logs

    @property
    def shared_s(self) -> float:
        """Seconds of a call, from its own rounds alone: medians of passes, their geometric mean."""
        return math.exp(float(np.mean(Passes.of(self._call_logs, self._rounds).logs)))

    def against(self, other: Result) -> Interval:
        """The ratio of its time to that of another contender in the same rounds, with its 99 % interval.

        Raises `InvalidValueError` for one of another race.
        """
        if (self.race, self.passes) != (other.race, other.passes):
            raise InvalidValueError(
                f"other: expected a contender of the same race, got {other.implementation} of {other.workload.label}, "
                f"{other.phase}; time them together"
            )
        return estimated(self._call_logs - other._call_logs, self._rounds, Drift()).interval

    def pass_times(self) -> dict[int, float]:
        """The logarithm of the seconds of a call in each pass, by its number."""
        logs = np.log(self.seconds)[self._left]
        return dict(zip(self._in_passes, Passes.of(logs, self._rounds).logs, strict=True)) if self.timed else {}

    @property
    def ratio_passes(self) -> Passes:
        """What the passes say about the logarithm of the ratio."""
        return Passes.of(self._ratio_logs, self._rounds)

    @property
    def reference_passes(self) -> Passes:
        """What they say about the logarithm of the seconds of a call of the reference."""
        return Passes.of(self._reference_logs.mean(axis=1), self._rounds)

    @property
    def median_s(self) -> float:
        """Seconds of a call of the implementation: medians of passes, their geometric mean.

        It is `reference_median_s` times the ratio, so that times and ratios are in one order.
        """
        return math.exp(self.time.log) if self.timed else math.nan

    @property
    def reference_median_s(self) -> float:
        """Seconds of a call of the fused reference in the same rounds."""
        return math.exp(self.reference_time.log) if self.timed else math.nan

    @property
    def event_median_s(self) -> float:
        """Median seconds between the CUDA events of a call."""
        return median(self.event_seconds) if self.event_seconds else math.nan

    @property
    def interval(self) -> Interval:
        """Time of the implementation over time of the reference, with its 99 % interval.

        It is that of any run where a whole grid was measured, which shows how a machine drifts, and else of this one.
        """
        if not self.timed:
            return NOTHING
        return (self.estimate if self.drifts.ratio.degrees else self._in_this_run).interval

    @property
    def verdict(self) -> str:
        """`faster`, `slower`, `same` or `unclear`, or `another network`; without a time, the status.

        The fused module against itself is held to 1 and the resolution alone: against its own noise floor
        it could never lose.
        """
        if not self.timed:
            return self.status
        if self.is_another_network:
            return WORDS
        return verdict(self.interval, RESOLUTION if self.is_reference else self.noise_floor)

    @property
    def tokens_per_s(self) -> float:
        """Steps of all sequences per second: `T * B / s`."""
        return self.workload.tokens / self.median_s

    @property
    def gflops(self) -> float:
        """10^9 floating-point operations of matrix products per second; NaN where they are not known."""
        operations = self.network.operations if self.network else flops(self.workload, self.phase)
        return operations / self.median_s / 1e9

    @property
    def pays_after_calls(self) -> float:
        """Calls after which compiling has paid for itself: infinite when it never does, NaN if not compiled."""
        if self.compile_s is None or self.uncompiled_s is None or not self.timed:
            return math.nan
        gain = self.uncompiled_s - self.median_s
        return math.ceil(self.compile_s / gain) if gain > 0 else math.inf

    @property
    def _iterations(self) -> str:
        """The most of any layer and direction: `5`, `loop` where one went step by step; nothing where none are made."""
        known = [count for count in self.iterations if count is not None]
        return "loop" if len(known) < len(self.iterations) else str(max(known)) if known else ""

    def row(self) -> dict[str, Any]:
        """One line of the tidy table."""
        hidden = self.workload.hidden_size
        interval = self.interval
        return {
            "cell": self.workload.cell_name,
            "num_layers": self.workload.num_layers,
            "input_size": self.workload.input_size,
            "hidden_size": "+".join(map(str, hidden)) if isinstance(hidden, tuple) else hidden,
            "batch_size": self.workload.batch_size,
            "seq_len": self.workload.seq_len,
            "bidirectional": self.workload.bidirectional,
            **{name: getattr(self.workload, name) for name in PLAIN},
            "phase": self.phase,
            "implementation": shown_name(self.workload, self.implementation),
            "reference": shown_name(self.workload, "fused"),
            "device": self.workload.device,
            "dtype": self.workload.dtype,
            "threads": self.threads,
            "status": self.status,
            "reason": self.reason,
            "passes": len(self.passes),
            "rounds": len(self.seconds),
            "left_out": self.rounds_left_out,
            "preempted": len(self.preempted),
            "median_s": self.median_s,
            "reference_median_s": self.reference_median_s,
            "event_median_s": self.event_median_s,
            "ratio": interval.ratio,
            "ratio_low": interval.low,
            "ratio_high": interval.high,
            "noise_floor": self.noise_floor,
            "verdict": self.verdict,
            "tokens_per_s": self.tokens_per_s,
            "gflops": self.gflops,
            "saved_bytes": self.saved_bytes,
            "peak_bytes": self.peak_bytes,
            "compile_s": self.compile_s,
            "pays_after_calls": self.pays_after_calls,
            "iterations": self._iterations,
            "equivalence_error": self.equivalence_error,
            "recheck_error": self.recheck_error,
        }


def settled(results: Sequence[Result]) -> tuple[Result, ...]:
    """The results of a run with what all of them show together: the drift of the machine, and noise floors.

    A reference that ran once a round shows no noise there: the floor is that of `fused` on the same workload.
    """
    timed = [result for result in results if result.timed]
    ratios = [result.ratio_passes for result in timed]
    times = [Passes.of(np.log(result.seconds)[result._left], result._rounds) for result in timed]
    drifts = Drifts(Drift.fit(ratios), Drift.fit(times))
    floors = {result.race: _floor(result, drifts) for result in timed if result.is_reference}
    return tuple(_settled(result, drifts, floors) if result.timed else result for result in results)


def _settled(result: Result, drifts: Drifts, floors: dict[Any, float]) -> Result:
    own = result._noise_logs is not None
    floor = _floor(result, drifts) if own else floors.get(result.race, math.nan)
    return replace(result, drifts=drifts, noise_floor=floor)


def _floor(result: Result, drifts: Drifts) -> float:
    assert result._noise_logs is not None
    return estimated(result._noise_logs, result._rounds, drifts.ratio).interval.noise_floor


def frame(results: Sequence[Result]) -> pd.DataFrame:
    """The results as a tidy pandas table, one row each."""
    import pandas as pd

    return pd.DataFrame([result.row() for result in results])
