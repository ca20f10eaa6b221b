"""What is to be measured: every combination of the values of some axes, each with so many seeds."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from unrolled.checks import check_size
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.results.codec import Count, Size
from unrolled.sweep.axis import Axis, Value
from unrolled.sweep.jobs.job import Job, Settings

MOST = 1_000_000  # measurements: a record has a row for each
LAST_SEED = 2**31 - 1


class Task(NamedTuple):
    """One measurement: settings as canonical JSON, and a seed."""

    settings: str
    seed: int


def canonical(settings: Settings) -> str:
    """The one text for these settings, by which a store knows them."""
    return json.dumps(dict(settings), sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Grid:
    """The product of the `axes`, the last of which changes fastest, over `base`; `seeds` of each from `seed` on.

    Raises `InvalidValueError` for no axes, one that is there twice or set besides, and for more than a million tasks.
    """

    axes: tuple[Axis, ...]
    base: dict[str, Value]
    seeds: Size = 10
    seed: Count = 0

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        if not names:
            raise InvalidValueError("axes: expected at least one, got none; name one, such as gain=0.5:2:16")
        for name in names:
            if names.count(name) > 1:
                raise InvalidValueError(f"axes: expected each once, got {name} twice; put its values together")
        check_size("seeds", self.seeds)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise InvalidTypeError(f"seed: expected a whole number, got {self.seed!r}; try 0")
        if not 0 <= self.seed <= LAST_SEED + 1 - self.seeds:
            raise InvalidValueError(
                f"seed: expected seeds from 0 to {LAST_SEED}, got {self.seed} to {self.seed + self.seeds - 1}"
            )
        if self.size > MOST:
            raise InvalidValueError(
                f"axes: expected at most {MOST:,} measurements, got {self.size:,}; take fewer values or seeds"
            )

    @property
    def count(self) -> int:
        """The number of points."""
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def size(self) -> int:
        """The number of measurements: points times seeds."""
        return self.count * self.seeds

    def points(self) -> Iterator[dict[str, Value]]:
        """The settings of each point."""
        names = [axis.name for axis in self.axes]
        for values in itertools.product(*(axis.values for axis in self.axes)):
            yield self.base | dict(zip(names, values, strict=True))

    def tasks(self) -> Iterator[Task]:
        """All measurements, point by point."""
        for point in self.points():
            settings = canonical(point)
            for seed in range(self.seed, self.seed + self.seeds):
                yield Task(settings, seed)

    def check(self) -> None:
        """All that can be wrong is found when it is made."""


def grid_of(job: Job, axes: tuple[Axis, ...], base: Settings, seeds: int = 10, seed: int = 0) -> Grid:
    """The grid, with every point of it checked by the job before anything is measured."""
    for axis in axes:
        if axis.name in base:
            raise InvalidValueError(
                f"axes: expected {axis.name} as an axis or as one setting, got both; leave one of them out"
            )
    typed = tuple(
        Axis(axis.name, tuple(job.parameter(axis.name).of(value) for value in axis.values)) for axis in axes
    )
    grid = Grid(typed, job.settings(base), seeds, seed)
    for point in grid.points():
        job.check(point)
    return grid
