"""The record of an explanation: the race of a ladder, floors, operations and a model; every figure is derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from unrolled.environment import Environment
from unrolled.networks.workload import Workload
from unrolled.results.codec import Count, NonNegative, Positive, require
from unrolled.results.record import Record
from unrolled.speed.load import Load
from unrolled.speed.result import Result
from unrolled.speed.why.ladder import Rung, rungs
from unrolled.speed.why.model import Model

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
    is None where there was no time for it. A step is one of one layer in one direction.
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

    def check(self) -> None:
        """Raise `ValueError` for what no explanation has."""
        require(datetime.fromisoformat(self.started).tzinfo is not None, "a start with its time zone")
        require(len(self.results) > 1 and self.results[0].is_reference, "results, that of the reference first")
        require(len({result.race for result in self.results}) == 1, "results of one race")

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
