"""Time from sizes: dispatch, traffic and products, their constants fitted here; and from where on a loop costs little.

    t(T, B, H) = k0 + n (k1 + k2 B G H + k3 G H (I + H) + k4 B G H (I + H)),      n = T layers directions

k0 is what a call costs however short, k1 what a step costs however small (dispatch), k2 is for each number that is
read and written in a step, k3 for each weight, which every step reads once, k4 for each multiply-add of its products.
None is below 0. They are fitted to times at a few sizes by least squares of relative errors, once for the loop and once
for the fused module; an interval is that of constants fitted to the same sizes with their errors dealt anew among them
(the residual bootstrap of Efron 1979, §7).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from unrolled.cells import GATES
from unrolled.networks.workload import Workload
from unrolled.results.codec import NonNegative, Positive, Size, require

CHEAP = 1.2  # a loop that takes at most so many times as long as the fused module
DRAWS = 200
LARGEST = {"batch_size": 4096, "hidden_size": 4096, "seq_len": 4096}
CONFIDENCE = 0.9  # of the interval of where a loop gets cheap

Constants = tuple[NonNegative, NonNegative, NonNegative, NonNegative, NonNegative]
TERMS = ("a call", "a step", "a number of the gates", "a weight", "a multiply-add")


def terms(workload: Workload) -> np.ndarray:
    """What the constants are multiplied by."""
    gates, batch = GATES[workload.cell], workload.batch_size
    found = np.zeros(len(TERMS))
    found[0] = 1
    for width, size in zip(workload.layer_input_sizes, workload.hidden_sizes, strict=True):
        steps, rows = workload.seq_len * workload.directions, gates * size
        found[1:] += steps * np.array([1, batch * rows, rows * (width + size), batch * rows * (width + size)])
    return found


@dataclass(frozen=True)
class Point:
    """A size, and the seconds that both took there in the same rounds."""

    workload: Workload
    loop_s: Positive
    fused_s: Positive


@dataclass(frozen=True)
class Crossing:
    """From which `value` of `axis` on a loop costs less than `CHEAP` times; None where no value up to `LARGEST` does.

    `low` and `high` bound it; None is beyond all.
    """

    axis: Literal["batch_size", "hidden_size", "seq_len"]
    value: Size | None
    low: Size | None
    high: Size | None


@dataclass(frozen=True)
class Model:
    """The constants of a loop and of the fused module, in seconds for each of `TERMS`, and the sizes they are from."""

    loop: Constants
    fused: Constants
    points: tuple[Point, ...]
    crossings: tuple[Crossing, ...]

    def check(self) -> None:
        """Raise `ValueError` where there is nothing that they could be from."""
        require(len(self.points) >= len(TERMS), "as many sizes as constants")

    def seconds(self, workload: Workload) -> tuple[float, float]:
        """Of the loop and of the fused module, at sizes that need not have been run."""
        found = terms(workload)
        return float(found @ np.array(self.loop)), float(found @ np.array(self.fused))

    def ratio(self, workload: Workload) -> float:
        """The first over the second."""
        loop, fused = self.seconds(workload)
        return loop / fused

    @property
    def error(self) -> float:
        """The median of the relative errors of both, at the sizes that it was fitted to."""
        return median(self.errors(self.points))

    def errors(self, points: Sequence[Point]) -> list[float]:
        """The relative errors at some sizes, of the loop and of the fused module."""
        return [
            abs(predicted / measured - 1)
            for point in points
            for predicted, measured in zip(
                self.seconds(point.workload), (point.loop_s, point.fused_s), strict=True
            )
        ]


def fit(points: Sequence[Point], about: Workload) -> Model:
    """The model of some sizes, and where a loop gets cheap along each axis, the other sizes as in `about`."""
    rows = np.array([terms(point.workload) for point in points])
    sides = [np.array([point.loop_s for point in points]), np.array([point.fused_s for point in points])]
    fitted = [_least_squares(rows, seconds) for seconds in sides]
    drawn = list(zip(*(_drawn(rows, constants) for constants in zip(fitted, sides, strict=True)), strict=True))
    return Model(
        loop=_plain(fitted[0]),
        fused=_plain(fitted[1]),
        points=tuple(points),
        crossings=tuple(_crossing(axis, about, fitted, drawn) for axis in LARGEST),
    )


def _plain(constants: np.ndarray) -> Constants:
    return tuple(map(float, constants))  # type: ignore[return-value]


def _least_squares(rows: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Constants of at least 0 that make the sum of squared relative errors smallest.

    Exactly: some of them are 0, and the others are what they are without a bound. Of all choices of these, the best.
    """
    scaled = rows / seconds[:, None]
    best, smallest = np.zeros(rows.shape[1]), math.inf
    for kept in _subsets(rows.shape[1]):
        found = np.zeros(rows.shape[1])
        found[kept] = np.linalg.lstsq(scaled[:, kept], np.ones(len(rows)), rcond=None)[0]
        error = float(np.square(scaled @ found - 1).sum())
        if (found >= 0).all() and error < smallest:
            best, smallest = found, error
    return best


def _subsets(number: int) -> list[list[int]]:
    return [list(some) for k in range(1, number + 1) for some in itertools.combinations(range(number), k)]


def _drawn(rows: np.ndarray, fitted: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Constants fitted to what the model says, times errors dealt anew among the sizes."""
    constants, seconds = fitted
    predicted = rows @ constants
    errors, draws = np.log(seconds / predicted), np.random.default_rng(0)
    freedom = math.sqrt(len(rows) / (len(rows) - rows.shape[1])) if len(rows) > rows.shape[1] else 1.0
    return [
        _least_squares(rows, predicted * np.exp(freedom * draws.choice(errors, len(rows))))
        for _ in range(DRAWS)
    ]


def _crossing(
    axis: str, about: Workload, fitted: Sequence[np.ndarray], drawn: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Crossing:
    values = _values(LARGEST[axis])
    rows = np.array([terms(about.replace(**{axis: value})) for value in values])

    def first(both: Sequence[np.ndarray]) -> float:
        """The number of the first value from which on the loop is cheap."""
        cheap = rows @ both[0] <= CHEAP * (rows @ both[1])
        dear = np.flatnonzero(~cheap)
        return float(dear[-1] + 1 if len(dear) else 0)

    places = [first(both) for both in drawn]
    low, high = np.quantile(places, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    named: Callable[[float], int | None] = lambda place: values[int(place)] if place < len(values) else None  # noqa: E731
    return Crossing(axis, named(first(fitted)), named(math.floor(low)), named(math.ceil(high)))  # type: ignore[arg-type]


def _values(largest: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, ...: about three to an octave less one."""
    octaves = range(round(math.log2(largest)) + 1)
    return [v for k in octaves for v in ((2**k, 3 * 2 ** (k - 1)) if k else (1,)) if v <= largest]
