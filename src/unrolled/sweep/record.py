"""A sweep as a record: the grid, a row for each point and seed, and what they come to over the seeds."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from unrolled.environment import Environment
from unrolled.results.codec import Count, require
from unrolled.results.record import Record
from unrolled.sweep.axis import Axis, Value, shown
from unrolled.sweep.grid import Grid
from unrolled.sweep.jobs.job import PROBLEM, Column, Job, Row
from unrolled.sweep.theory_line import TheoryLine, theory_line


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Record):
    """The rows of a grid, or those so far: row i is the measurement `places[i]` of the grid.

    `numbers[name][i]` and `words[name][i]` are its results: None where there is none, as where `words["problem"]` says
    what went wrong.
    """

    FORMAT, VIEW = "unrolled.sweep", "sweep"
    VERSION = 1

    job: str
    job_version: Count
    what: str
    grid: Grid
    columns: tuple[Column, ...]
    shown: str
    places: tuple[Count, ...]
    numbers: dict[str, tuple[float | None, ...]]
    words: dict[str, tuple[str | None, ...]]
    theory: TheoryLine | None
    environment: Environment

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Those of the grid."""
        return self.grid.axes

    @property
    def is_whole(self) -> bool:
        """Whether every measurement is there."""
        return len(self.places) == self.grid.size

    @property
    def column(self) -> Column:
        """The one of the picture."""
        return next(column for column in self.columns if column.name == self.shown)

    @property
    def problems(self) -> int:
        """How many rows have one."""
        return sum(1 for problem in self.words[PROBLEM] if problem)

    @property
    def values(self) -> dict[str, tuple[Value, ...]]:
        """Numbers and words by their names."""
        return {**self.numbers, **self.words}

    def frame(self) -> pd.DataFrame:
        """A row per point and seed: the axes, `seed`, the results, `problem`."""
        points = list(itertools.product(*(axis.values for axis in self.axes)))
        chosen = [points[place // self.grid.seeds] for place in self.places]
        frame = pd.DataFrame(chosen, columns=[axis.name for axis in self.axes])
        frame["seed"] = [self.grid.seed + place % self.grid.seeds for place in self.places]
        for column in self.columns:
            frame[column.name] = _array(self.values[column.name], column)
        frame[PROBLEM] = self.words[PROBLEM]
        return frame

    def mean_frame(self) -> pd.DataFrame:
        """A row per point: of each number its mean, `_median` and `_spread` (standard deviation) over the seeds.

        Of a flag the share, of words the most frequent. `seeds` are those without a problem, `problems` the others.
        """
        return self._means.copy()

    @cached_property
    def _means(self) -> pd.DataFrame:
        frame = self.frame()
        points = np.array(self.places, dtype=int) // self.grid.seeds
        made = frame.groupby(points, sort=True)
        means = made[[axis.name for axis in self.axes]].first()
        for axis in self.axes:  # None among words would be left out
            means[axis.name] = [axis.values[k] for k in self._along(axis, means.index.to_numpy())]
        means["seeds"] = (frame[PROBLEM] == "").groupby(points).sum()
        means["problems"] = (frame[PROBLEM] != "").groupby(points).sum()
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)  # of -inf, which has no spread
            for column in self.columns:
                values = made[column.name]
                if column.kind == "word":
                    means[column.name] = values.agg(_most_frequent)
                    continue
                means[column.name] = values.mean()
                if column.kind == "number":
                    means[f"{column.name}_median"] = values.median()
                    means[f"{column.name}_spread"] = values.std(ddof=1)
        return means.reset_index(drop=True)

    def _along(self, axis: Axis, points: np.ndarray) -> np.ndarray:
        """The index on one axis of points in the order of the grid."""
        sizes = [len(each.values) for each in self.axes]
        return np.unravel_index(points, sizes)[self.axes.index(axis)]

    def theory_frame(self) -> pd.DataFrame:
        """Where the column shown crosses 0 by theory; empty where none covers it."""
        return pd.DataFrame() if self.theory is None else self.theory.frame().dropna(ignore_index=True)

    def describe(self) -> str:
        """Two lines for the foot of a plot: what was measured, and on what machine."""
        names = {axis.name for axis in self.axes}
        base = [
            f"{name} {shown(value)}"
            for name, value in self.grid.base.items()
            if name not in names and value is not None
        ]
        last = self.grid.seed + self.grid.seeds - 1
        seeds = f"seed {last}" if self.grid.seeds == 1 else f"seeds {self.grid.seed} to {last}"
        return f"{self.job}: {', '.join(base)}, {seeds}\n{self.environment.describe()}"

    def check(self) -> None:
        """Raise `ValueError` for what is not of one sweep, or a part of one."""
        names = [column.name for column in self.columns]
        words = {column.name for column in self.columns if column.kind == "word"}
        require(set(self.words) == {*words, PROBLEM}, f"words of {', '.join([*words, PROBLEM])}")
        require(set(self.numbers) == {*names} - words, f"numbers of {', '.join(names)}")
        require(self.shown in names, f"a column to show, got {self.shown}")
        require({axis.name for axis in self.axes} <= set(self.grid.base), "axes that are settings")
        require(all(a < b for a, b in itertools.pairwise(self.places)), "places that increase")
        require(not self.places or self.places[-1] < self.grid.size, "places of the grid")
        for name, values in self.values.items():
            require(len(values) == len(self.places), f"a {name} in each row")
        require(None not in self.words[PROBLEM], "words for problems")


def _most_frequent(words: pd.Series) -> str | None:
    """The first of them where there are several."""
    counts = words.dropna().value_counts()
    return None if counts.empty else min(counts[counts == counts.max()].index)


def _array(values: Sequence[Value], column: Column) -> Any:
    return list(values) if column.kind == "word" else np.array(values, dtype=float)


def results_of(job: Job, rows: Sequence[tuple[int, Row]]) -> dict[str, Any]:
    """The fields of a record that are about what was measured, from rows and their places."""
    words = [*(column.name for column in job.columns if column.kind == "word"), PROBLEM]
    names = [column.name for column in job.columns if column.kind != "word"]
    return {
        "places": tuple(place for place, _ in rows),
        "numbers": {name: tuple(row[name] for _, row in rows) for name in names},
        "words": {name: tuple(row[name] for _, row in rows) for name in words},
    }


def empty(job: Job, name: str, grid: Grid) -> Sweep:
    """The record of a sweep of which nothing is measured; `name` is the job's, or its path."""
    return Sweep(
        job=name,
        job_version=job.version,
        what=job.what,
        grid=grid,
        columns=job.columns,
        shown=job.shown,
        **results_of(job, []),
        theory=theory_line(job, grid),
        environment=Environment.without_load(),
    )
