"""The record of an explanation: the race of a ladder, floors, operations and a model; every figure is derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from unrolled.environment import Environment
from unrolled.networks.workload import Workload
from unrolled.results.codec import IF_NOT_DEFAULT, Count, NonNegative, Positive, Size, require
from unrolled.results.record import Record
from unrolled.speed.load import Load
from unrolled.speed.result import Result, settled
from unrolled.speed.why.ladder import Rung, rungs
from unrolled.speed.why.model import Model
from unrolled.speed.why.tries import Advice, advice, helped

if TYPE_CHECKING:
    import pandas as pd

LOOP = "cells"


@dataclass(frozen=True)
class Floor:
    """`name`, which says what it is a floor of, in seconds for all steps of all layers: the median of some rounds."""

    name: str
    seconds: Positive


@dataclass(frozen=True)
class Operation:
    """`count` calls of `name` by an implementation, `seconds` in all; longer than without a profiler."""

    implementation: str
    name: str
    count: Count
    seconds: NonNegative


@dataclass(frozen=True)
class Launches:
    """Kernels that a call of an implementation launched on a CUDA device, and the seconds in which any of them ran."""

    implementation: str
    count: Count
    seconds: NonNegative


@dataclass(frozen=True, repr=False)
class Why(Record):
    """Why a loop of cells takes longer than the fused module on one workload, in one phase.

    `results` are of one race of all rungs, that of the reference first. `floors` are in seconds for all steps. `model`
    is None where there was no time for it. `tried` are results of the fused module in other settings, that of the
    workload itself first; `calls` is how many calls there will be, where somebody asked whether compiling pays. A step
    is one of one layer in one direction.
    """

    FORMAT, VIEW, VERSION = "unrolled.why", "why", 1

    environment: Environment
    started: str
    results: tuple[Result, ...]
    floors: tuple[Floor, ...]
    operations: tuple[Operation, ...]
    launches: tuple[Launches, ...]
    model: Model | None
    during: Load | None
    tried: tuple[Result, ...] = field(default=(), metadata=IF_NOT_DEFAULT)
    calls: Size | None = field(default=None, metadata=IF_NOT_DEFAULT)

    def check(self) -> None:
        """Raise `ValueError` for what no explanation has."""
        require(datetime.fromisoformat(self.started).tzinfo is not None, "a start with its time zone")
        require(len(self.results) > 1 and self.results[0].is_reference, "results, that of the reference first")
        require(len({result.race for result in self.results}) == 1, "results of one race")
        first = self.tried[:1]
        require(
            all(each.is_reference and each.workload == self.workload for each in first),
            "what was asked for first",
        )

    @property
    def workload(self) -> Workload:
        """What was run."""
        return self.results[0].workload

    @property
    def phase(self) -> str:
        """`forward` or `training`."""
        return self.results[0].phase

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """Those that lead from the loop to the fused module, and those beside; without what got no time."""
        return rungs(self.results)

    @property
    def ladder(self) -> tuple[Rung, ...]:
        """Those that lead from the loop to the fused module."""
        return tuple(rung for rung in self.rungs if rung.change.on_ladder)

    @property
    def is_whole(self) -> bool:
        """Whether the ladder leads from the loop to the fused module, without a gap."""
        names = [LOOP, *(rung.change.after for rung in self.ladder)]
        return names[-1] == "fused" and names[:-1] == [rung.change.before for rung in self.ladder]

    @property
    def failed(self) -> tuple[Result, ...]:
        """What got no time; its `reason` says why."""
        return tuple(result for result in self.results if not result.timed)

    @cached_property
    def advice(self) -> tuple[Advice, ...]:
        """All that was tried and got a time, whether it helped or not."""
        return tuple(advice(settled(self.results), settled(self.tried)))

    @property
    def helped(self) -> tuple[Advice, ...]:
        """What was faster beyond the noise, and pays within so many `calls`: the best first."""
        return helped(self.results, self.tried, self.calls)

    def result(self, implementation: str) -> Result | None:
        """That of an implementation, if it has a time."""
        return next(
            (each for each in self.results if each.implementation == implementation and each.timed), None
        )

    def step_s(self, seconds: float) -> float:
        """Seconds of a step, of those of a call."""
        return seconds / self.workload.steps

    def floor_s(self, name: str) -> float | None:
        """Seconds of a step at least, for one of `floors`; None where it was not measured."""
        return next((self.step_s(each.seconds) for each in self.floors if each.name == name), None)

    def operations_a_step(self, implementation: str) -> float:
        """How many operations an implementation calls in a step."""
        return (
            sum(each.count for each in self.operations if each.implementation == implementation)
            / self.workload.steps
        )

    def rungs_frame(self) -> pd.DataFrame:
        """A row per change: seconds of a step before and after it, and the ratio of the two with its interval."""
        return _frame(
            {
                "before": rung.change.before,
                "after": rung.change.after,
                "what": rung.change.what,
                "on_ladder": rung.change.on_ladder,
                "before_s": self.step_s(rung.before_s),
                "after_s": self.step_s(rung.after_s),
                "ratio": rung.ratio.ratio,
                "ratio_low": rung.ratio.low,
                "ratio_high": rung.ratio.high,
            }
            for rung in self.rungs
        )

    def advice_frame(self) -> pd.DataFrame:
        """A row per thing that was tried: the ratio of its time to that of the fused module as asked for."""
        helped = self.helped
        return _frame(
            {
                "what": each.what,
                "ratio": each.ratio.ratio,
                "ratio_low": each.ratio.low,
                "ratio_high": each.ratio.high,
                "pays_after_calls": each.pays_after,
                "helped": each in helped,
            }
            for each in self.advice
        )

    def floors_frame(self) -> pd.DataFrame:
        """A row per floor: seconds of a step."""
        return _frame({"floor": each.name, "step_s": self.step_s(each.seconds)} for each in self.floors)

    def operations_frame(self) -> pd.DataFrame:
        """A row per implementation and operation: calls and seconds, of a step."""
        return _frame(
            {
                "implementation": each.implementation,
                "operation": each.name,
                "calls": each.count / self.workload.steps,
                "step_s": self.step_s(each.seconds),
            }
            for each in self.operations
        )

    def sizes_frame(self) -> pd.DataFrame:
        """A row per size that the model is fitted to: measured and predicted seconds of a call."""
        model = self.model
        if model is None:
            return _frame([])
        return _frame(_size_row(model, k) for k in range(len(model.points)))


def _size_row(model: Model, k: int) -> dict[str, Any]:
    point = model.points[k]
    loop, fused = model.seconds(point.workload)
    return {
        "seq_len": point.workload.seq_len,
        "batch_size": point.workload.batch_size,
        "hidden_size": point.workload.hidden_size,
        "loop_s": point.loop_s,
        "loop_predicted_s": loop,
        "fused_s": point.fused_s,
        "fused_predicted_s": fused,
    }


def _frame(rows: Any) -> pd.DataFrame:
    import pandas as pd

    found: Sequence[dict[str, Any]] = list(rows)
    return pd.DataFrame(found)
