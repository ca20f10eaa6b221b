"""The record of one benchmark: raw rounds are kept, every figure is derived from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

from unrolled.errors import ResultFileError
from unrolled.networks.workload import Workload
from unrolled.speed.grid import shown_name
from unrolled.speed.operations import flops
from unrolled.speed.statistics import RESOLUTION, Interval, paired_ratio, verdict

if TYPE_CHECKING:
    import pandas as pd

STATUSES = ("ok", "wrong", "failed", "out of memory")
_NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One (workload, phase, implementation): how it went, and the seconds of every paired round.

    `seconds[k]` and `reference_seconds[k]` belong to one pair; `reference_first[k]` tells their order.
    The times between CUDA events are kept beside them. `noise_floor` is the largest ratio that fused
    against itself showed on this workload and phase. `spent_s` says where the time of the benchmark went.
    """

    workload: Workload
    phase: str
    implementation: str
    threads: int
    status: str = "ok"
    reason: str = ""
    seconds: tuple[float, ...] = ()
    reference_seconds: tuple[float, ...] = ()
    reference_first: tuple[bool, ...] = ()
    event_seconds: tuple[float, ...] = ()
    reference_event_seconds: tuple[float, ...] = ()
    noise_floor: float = math.nan
    equivalence_error: float = math.nan
    equivalence_where: str = ""
    saved_bytes: int | None = None
    peak_bytes: int | None = None
    compile_s: float | None = None
    uncompiled_s: float | None = None
    spent_s: dict[str, float] = field(default_factory=dict)

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
        """`faster`, `slower`, `same` or `unclear`; without a time, `wrong`, `failed` or `out of memory`.

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

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON; NaN as None."""
        values = asdict(self)
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Result:
        """The inverse of `to_dict`. Raises `ResultFileError` when a field is missing, unknown or damaged."""
        names = {f.name for f in fields(cls)}
        if set(values) != names:
            raise ResultFileError(f"result: expected the fields {sorted(names)}, got {sorted(values)}")
        known = dict(values)
        for name in ("noise_floor", "equivalence_error"):
            known[name] = math.nan if known[name] is None else known[name]
        lists = (
            "seconds",
            "reference_seconds",
            "reference_first",
            "event_seconds",
            "reference_event_seconds",
        )
        for name in lists:
            known[name] = tuple(known[name])
        return cls(**{**known, "workload": Workload.from_dict(known["workload"])})


def frame(results: Sequence[Result]) -> pd.DataFrame:
    """The results as a tidy pandas table, one row each."""
    import pandas as pd

    return pd.DataFrame([result.row() for result in results])
