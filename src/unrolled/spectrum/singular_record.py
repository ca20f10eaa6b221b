"""Singular values of long Jacobians as a record: per system, lag and sample, in the log domain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from unrolled.observed.system import System
from unrolled.results.codec import require
from unrolled.results.shown import Plotted
from unrolled.rollout.scaled import check_logs
from unrolled.spectrum.systems_record import SystemsRecord, check_increasing

# log10 of the singular value from which a direction counts as carrying: a change comes out at 1/1000 of its size.
CARRIES = math.log10(1 / 1000)


@dataclass(frozen=True, eq=False, repr=False)
class SingularValues(Plotted):
    """The singular values of `∂s_T/∂s_{T-k}` of one system, T the last step, for every lag k.

    `log10` `(lags, B, size)`, from the largest down; `-inf` stands for exactly 0.
    """

    VIEW = "jacobian_singular_values"

    system: System
    lags: np.ndarray
    log10: np.ndarray

    @classmethod
    def joined(cls, groups: Sequence[SingularValues]) -> SingularValues:
        """One record from those of several groups of samples."""
        return replace(groups[0], log10=np.concatenate([group.log10 for group in groups], axis=1))

    @property
    def samples(self) -> int:
        """The number of samples, B."""
        return int(self.log10.shape[1])

    @property
    def log10_condition(self) -> np.ndarray:
        """log10 of the largest over the smallest, `(lags, B)`; inf where one is 0, NaN where all are."""
        with np.errstate(invalid="ignore"):
            result: np.ndarray = self.log10[..., 0] - self.log10[..., -1]
        return result

    @property
    def carrying(self) -> np.ndarray:
        """The share of singular values of at least 1/1000, `(lags, B)`: of directions that still carry a change."""
        result: np.ndarray = (self.log10 >= CARRIES).mean(-1)
        return result

    def frame(self) -> pd.DataFrame:
        """One row per lag, sample and singular value.

        Columns module, call, system (`l0`, `l1.reverse`, `stack`), lag, sample, index (1 is the largest),
        log10_singular_value.
        """
        axes = {"lag": self.lags, "sample": range(self.samples), "index": range(1, self.log10.shape[2] + 1)}
        return self.system.table(axes, {"log10_singular_value": self.log10})

    def summary(self) -> pd.DataFrame:
        """One row per lag and sample."""
        columns = {
            "log10_largest": self.log10[..., 0],
            "log10_smallest": self.log10[..., -1],
            "log10_condition": self.log10_condition,
            "carrying": self.carrying,
        }
        return self.system.table({"lag": self.lags, "sample": range(self.samples)}, columns)

    def by_lag(self) -> pd.DataFrame:
        """One row per lag, the means over samples: log10_largest, log10_condition, carrying; and the size."""
        columns = dict.fromkeys(("log10_largest", "log10_condition", "carrying"), "mean")
        return self.summary().groupby("lag", as_index=False).agg(columns).assign(size=self.system.size)

    def check(self) -> None:
        """Raise `ValueError` for what are no singular values."""
        check_logs(self.log10, 3, "singular values")
        check_increasing(self.lags, "lags")
        lags, _, size = self.log10.shape
        require(lags == len(self.lags) and size == self.system.size, "all singular values at each lag")
        require((self.log10[..., 1:] <= self.log10[..., :-1]).all(), "singular values from the largest down")

    def check_steps(self, steps: int) -> None:
        """Raise `ValueError` unless these can be from an input of so many steps."""
        require(self.lags[-1] <= steps, f"lags of at most {steps} steps")


@dataclass(frozen=True, eq=False, repr=False)
class JacobianSingularValues(SystemsRecord[SingularValues]):
    """The singular values of `∂s_T/∂s_{T-k}` of every layer and direction, and of each stack as one system."""

    FORMAT, VIEW = "unrolled.jacobian_singular_values", "jacobian_singular_values"
    # 2: null is None and nothing else, the logarithm of 0 is "-inf"; `parts` for `systems`.
    VERSION = 2

    def check(self) -> None:
        """Raise `ValueError` for what are no singular values of one model."""
        super().check()
        first = self.parts[0].lags
        require(all(np.array_equal(part.lags, first) for part in self.parts), "the same lags of all")

    def summary(self) -> pd.DataFrame:
        """One row per system, lag and sample.

        Columns log10_largest, log10_smallest, log10_condition and carrying, the share of directions that still carry
        1/1000.
        """
        return pd.concat([part.summary() for part in self.parts], ignore_index=True)
