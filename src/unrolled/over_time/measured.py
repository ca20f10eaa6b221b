"""What is measured of one network: its largest exponent with an interval, and Newton's iterations by length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unrolled.results.codec import Count, NonNegative, Size, require


@dataclass(frozen=True)
class Exponent:
    """The largest Lyapunov exponent, nats per step, with its 99 % interval; that of one estimate is infinite."""

    value: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether its sign is that of the whole interval."""
        return self.high < 0 or self.low > 0

    def check(self) -> None:
        """Raise `ValueError` for what is no interval about a value."""
        require(self.low <= self.value <= self.high, "an exponent within its interval")


@dataclass(frozen=True)
class Growth:
    """`K ~ T^power` by least squares on logarithms, with the standard error; NaN where there are too few lengths."""

    power: float
    error: float

    @classmethod
    def of(cls, lengths: tuple[int, ...], iterations: tuple[int, ...]) -> Growth:
        """A K of 0, a first guess that was right, counts as 1."""
        if len(lengths) < 2:
            return cls(math.nan, math.nan)
        x, y = np.log(lengths), np.log(np.maximum(iterations, 1))
        x = x - x.mean()
        power = float(x @ y / (x @ x))
        rest = y - y.mean() - power * x
        error = math.sqrt(float(rest @ rest) / (len(x) - 2) / float(x @ x)) if len(x) > 2 else math.nan
        return cls(power, error)


@dataclass(frozen=True)
class Iterations:
    """K by length, the most that one of a network's layers and directions took.

    `damped`: in how many of them some states were. Where the last residual is above the tolerance, K is that at which
    the iteration was given up, and `converged` is false.
    """

    counts: tuple[Count, ...]
    damped: tuple[Count, ...]
    converged: tuple[bool, ...]

    def check(self) -> None:
        """Raise `ValueError` for what is not of the same lengths."""
        require(len(self.counts) == len(self.damped) == len(self.converged) > 0, "an entry for each length")


@dataclass(frozen=True)
class Measured:
    """One network: `system` is the layer and direction with the largest exponent, `state_size` the largest state.

    `forgets`: whether each layer and direction forgets how it began.

    `full` and `diagonal` name the Jacobians. `error` is the largest distance of Newton's states from those of one step
    after the other, at the longest length.
    """

    network: str
    system: str
    state_size: Size
    batch_size: Size
    exponent: Exponent
    forgets: bool
    full: Iterations
    diagonal: Iterations
    error: NonNegative

    @property
    def predicted(self) -> bool:
        """Whether it can be run in parallel: by the sign of the exponent (Gonzalez et al. 2025, arXiv 2508.16817).

        And not where several trajectories are stable under the same input, which the sign does not tell.
        """
        return self.exponent.value < 0 and self.forgets
