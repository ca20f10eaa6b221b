"""Where the column shown crosses 0 by theory, over the axes of a grid."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unrolled.results.codec import require
from unrolled.sweep.axis import Axis, Value
from unrolled.sweep.grid import Grid
from unrolled.sweep.jobs.job import Job

LINE = 13  # points of a line of theory, which is smooth; each is found by some thousand evaluations


@dataclass(frozen=True)
class TheoryLine:
    """By `theory` the column shown crosses 0 where the axis `over` is `at[i]`; None where it does not.

    `others[name][i]` are the values of the other axes there.
    """

    theory: str
    over: str
    others: dict[str, tuple[Value, ...]]
    at: tuple[float | None, ...]

    def frame(self) -> pd.DataFrame:
        """A row per place: the other axes, and the one that theory is over."""
        return pd.DataFrame({**self.others, self.over: pd.array(self.at, dtype="float64")})

    def check(self) -> None:
        """Raise `ValueError` for what is no line."""
        require(all(len(values) == len(self.at) for values in self.others.values()), "a value at each place")


def theory_line(job: Job, grid: Grid) -> TheoryLine | None:
    """Theory at the values of the other axes; the first with numbers is gone through in finer steps."""
    if job.theory is None or job.theory.over not in {axis.name for axis in grid.axes}:
        return None
    others = [axis for axis in grid.axes if axis.name != job.theory.over]
    finer = next(
        (axis for axis in others if axis.is_numeric and job.parameter(axis.name).kind == "number"), None
    )
    values = [_finer(axis) if axis is finer else axis.values for axis in others]
    places = list(itertools.product(*values))
    names = [axis.name for axis in others]
    at = [job.theory.at(grid.base | dict(zip(names, place, strict=True))) for place in places]
    if all(each is None for each in at):
        return None
    columns = {name: tuple(place[k] for place in places) for k, name in enumerate(names)}
    return TheoryLine(job.theory.name, job.theory.over, columns, tuple(at))


def _finer(axis: Axis) -> tuple[Value, ...]:
    """Its own values, and others in between, closer to each other near the smallest, where lines are steep."""
    own = [float(value) for value in axis.values if isinstance(value, float | int)]
    between = min(own) + (max(own) - min(own)) * np.linspace(0, 1, LINE) ** 2
    return tuple(sorted({*own, *between.tolist()}))
