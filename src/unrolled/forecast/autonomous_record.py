"""What a closed loop came to: its exponents, and the word for how it moves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unrolled.forecast.motion import MOTIONS, motion
from unrolled.results.codec import NonNegative, Size, require
from unrolled.rollout.scaled import check_logs


@dataclass(frozen=True, eq=False)
class Autonomous:
    """Lyapunov exponents of loops of one forecaster, each begun after another stretch of the truth.

    `values` `(B, k)`: nats per step, from the largest down; `-inf` for a direction that is lost, NaN where a loop
    blows up. `ranges` `(B,)`: largest less smallest prediction in the second half of the run, in units of the signal;
    `scale` is the truth's standard deviation. `steps` are what the exponents are means over, after `transient`.
    """

    values: np.ndarray
    ranges: np.ndarray
    scale: NonNegative
    steps: Size
    transient: Size

    def check(self) -> None:
        """Raise `ValueError` for what no closed loop leaves."""
        require(self.values.ndim == 2 and self.values.size > 0, "exponents of loops")
        require(self.values.dtype == float and self.ranges.dtype == float, "exponents and ranges as decimals")
        require(self.ranges.shape == (len(self.values),), "a range for each loop")
        lost = np.isnan(self.values)
        require((lost.all(1) == lost.any(1)).all(), "all exponents of a loop, or none")
        require((lost.all(1) == np.isnan(self.ranges)).all(), "no range where a loop blows up, and else one")
        kept = self.bounded
        if len(kept):
            check_logs(kept, 2, "exponents")
        require((kept[:, 1:] <= kept[:, :-1]).all(), "exponents from the largest down")
        ranges = self.ranges[~np.isnan(self.ranges)]
        require(bool((ranges >= 0).all()) and bool(np.isfinite(ranges).all()), "ranges of at least 0")

    @property
    def bounded(self) -> np.ndarray:
        """The exponents of the loops that do not blow up, `(B', k)`."""
        found: np.ndarray = self.values[~np.isnan(self.values).any(1)]
        return found

    @property
    def mean(self) -> np.ndarray:
        """Over the loops that do not blow up, `(k,)`; NaN where all do."""
        kept = self.bounded
        found: np.ndarray = kept.mean(0) if len(kept) else np.full(self.values.shape[1], np.nan)
        return found

    @property
    def error(self) -> np.ndarray:
        """The standard error of the mean, `(k,)`, by the spread over loops; NaN for a single one."""
        kept = self.bounded
        if len(kept) < 2:
            return np.full(self.values.shape[1], np.nan)
        with np.errstate(invalid="ignore"):  # of exponents of -inf
            found: np.ndarray = kept.std(0, ddof=1) / math.sqrt(len(kept))
        return found

    @property
    def motions(self) -> list[str]:
        """One of `MOTIONS` for each loop."""
        return [
            motion(float(largest), float(spread), self.scale, self.steps)
            for largest, spread in zip(self.values[:, 0], self.ranges, strict=True)
        ]

    @property
    def motion(self) -> str:
        """That of most loops; of as many, the first in `MOTIONS`."""
        found = self.motions
        return max(MOTIONS, key=found.count)

    def frame(self) -> pd.DataFrame:
        """A row per loop and exponent: `loop` and `index` count from 1, `exponent` is in nats per step."""
        loops, k = self.values.shape
        return pd.DataFrame(
            {
                "loop": np.repeat(np.arange(1, loops + 1), k),
                "motion": np.repeat(self.motions, k),
                "index": np.tile(np.arange(1, k + 1), loops),
                "exponent": self.values.ravel(),
            }
        )
