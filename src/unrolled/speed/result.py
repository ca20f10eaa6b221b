"""The record of one benchmark: raw rounds are kept, every figure is derived from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from unrolled.networks.workload import Workload
from unrolled.results.codec import Count, require
from unrolled.speed.grid import PHASES, shown_name
from unrolled.speed.operations import flops
from unrolled.speed.statistics import RESOLUTION, Interval, paired_ratio, verdict

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
_NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One (workload, phase, implementation): how it went, and the seconds of every paired round.

    `seconds[k]` and `reference_seconds[k]` belong to one pair; `reference_first[k]` tells their order.
    The times between CUDA events are kept beside them. `noise_floor` is the largest ratio that fused
    against itself showed on this workload and phase. `spent_s` says where the time of the benchmark went, and `notes`
    what else the implementation did.
    """

    workload: Workload
    phase: str
    implementation: str
    threads: Threads
    status: str = "ok"
    reason: str = ""
    seconds: tuple[Seconds, ...] = ()
    reference_seconds: tuple[Seconds, ...] = ()
    reference_first: tuple[bool, ...] = ()
    event_seconds: tuple[Spent, ...] = ()
    reference_event_seconds: tuple[Spent, ...] = ()
    noise_floor: float = math.nan
    equivalence_error: float = math.nan
    equivalence_where: str = ""
    saved_bytes: Count | None = None
    peak_bytes: Count | None = None
    compile_s: Difference | None = None
    uncompiled_s: Seconds | None = None
    spent_s: dict[str, Spent] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise `ValueError` for what no race gives."""
        rounds, events = len(self.seconds), len(self.event_seconds)
        on_cuda = self.workload.device.startswith("cuda")
        require(self.status in STATUSES, f"a status among {', '.join(STATUSES)}")
        require(self.phase in PHASES, f"a phase among {', '.join(PHASES)}")
        require(bool(self.implementation), "a name of the implementation")
        require((self.status == "ok") != bool(self.reason), "a reason where it is not ok")
        require(self.status == "ok" or not self.timed, "no time of what is not ok")
        require(rounds == len(self.reference_seconds) == len(self.reference_first), "rounds in pairs")
        require(events == len(self.reference_event_seconds), "events in pairs")
        require(events == 0 or (events == rounds and on_cuda), "an event for each round, on CUDA alone")
        floor, error = self.noise_floor, self.equivalence_error
        require(math.isnan(floor) or (self.timed and 1 <= floor <= 1e9), "a noise floor of at least 1")
        require(not error < 0 and not (self.timed and error > LARGEST_ERROR), "a small error of what was timed")
        if self.status not in ("ok", "wrong"):
            found = (self.equivalence_where, self.spent_s)
            require(math.isnan(error) and found == ("", {}), "nothing of what ended before its end")
        require((self.saved_bytes is not None) == self.timed, "the bytes that are saved, of what was timed")
        require(
            self.phase == "training" or not self.saved_bytes, "no bytes that are saved for no backward pass"
        )
        require((self.peak_bytes is not None) == (self.timed and on_cuda), "a peak of bytes on CUDA alone")
        require((self.compile_s is None) == (self.uncompiled_s is None), "both costs of compiling")
        require(self.timed or self.compile_s is None, "no cost of compiling of what was not timed")
        parts = set(self.spent_s)
        require(parts <= set(PARTS) and (parts == set(PARTS)) == self.timed, f"time of {', '.join(PARTS)}")

    @property
    def timed(self) -> bool:
        """Whether there are rounds to derive figures from."""
        return bool(self.seconds)

    @property
    def median_s(self) -> float:
        """Median seconds of a call of the implementation."""
        return median(self.seconds) if self.timed else math.nan

    @property
    def reference_median_s(self) -> float:
        """Median seconds of a call of the fused reference beside it."""
        return median(self.reference_seconds) if self.timed else math.nan

    @property
    def event_median_s(self) -> float:
        """Median seconds between the CUDA events of a call."""
        return median(self.event_seconds) if self.event_seconds else math.nan

    @cached_property
    def interval(self) -> Interval:
        """Time of the implementation over time of the reference, with its 99 % interval."""
        return paired_ratio(self.seconds, self.reference_seconds) if self.timed else _NOTHING

    @property
    def verdict(self) -> str:
        """`faster`, `slower`, `same` or `unclear`; without a time, the status.

        The fused module against itself is held to 1 and the resolution alone: against its own noise floor
        it could never lose.
        """
        if not self.timed:
            return self.status
        return verdict(self.interval, RESOLUTION if self.implementation == "fused" else self.noise_floor)

    @property
    def tokens_per_s(self) -> float:
        """Steps of all sequences per second: `T * B / s`."""
        return self.workload.tokens / self.median_s

    @property
    def gflops(self) -> float:
        """10^9 floating-point operations of matrix products per second; NaN where they are not known."""
        return flops(self.workload, self.phase) / self.median_s / 1e9

    @property
    def pays_after_calls(self) -> float:
        """Calls after which compiling has paid for itself: infinite when it never does, NaN if not compiled."""
        if self.compile_s is None or self.uncompiled_s is None or not self.timed:
            return math.nan
        gain = self.uncompiled_s - self.median_s
        return math.ceil(self.compile_s / gain) if gain > 0 else math.inf

    def row(self) -> dict[str, Any]:
        """One line of the tidy table."""
        hidden = self.workload.hidden_size
        return {
            "cell": self.workload.cell_name,
            "num_layers": self.workload.num_layers,
            "input_size": self.workload.input_size,
            "hidden_size": "+".join(map(str, hidden)) if isinstance(hidden, tuple) else str(hidden),
            "batch_size": self.workload.batch_size,
            "seq_len": self.workload.seq_len,
            "bidirectional": self.workload.bidirectional,
            "phase": self.phase,
            "implementation": shown_name(self.workload, self.implementation),
            "reference": shown_name(self.workload, "fused"),
            "device": self.workload.device,
            "dtype": self.workload.dtype,
            "threads": self.threads,
            "status": self.status,
            "reason": self.reason,
            "rounds": len(self.seconds),
            "median_s": self.median_s,
            "reference_median_s": self.reference_median_s,
            "event_median_s": self.event_median_s,
            "ratio": self.interval.ratio,
            "ratio_low": self.interval.low,
            "ratio_high": self.interval.high,
            "noise_floor": self.noise_floor,
            "verdict": self.verdict,
            "tokens_per_s": self.tokens_per_s,
            "gflops": self.gflops,
            "saved_bytes": self.saved_bytes,
            "peak_bytes": self.peak_bytes,
            "compile_s": self.compile_s,
            "pays_after_calls": self.pays_after_calls,
            "equivalence_error": self.equivalence_error,
        }


def frame(results: Sequence[Result]) -> pd.DataFrame:
    """The results as a tidy pandas table, one row each."""
    import pandas as pd

    return pd.DataFrame([result.row() for result in results])
