"""Singular values of long Jacobians as a record: per system, lag and sample, in the log domain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from unrolled.spectrum.codec import Measurement, Record, from_lists, to_lists
from unrolled.spectrum.system import System

# log10 of the singular value from which a direction counts as carrying: a change comes out at 1/1000 of its size.
CARRIES = math.log10(1 / 1000)


@dataclass(frozen=True, eq=False)
class SingularValues:
    """The singular values of `∂s_T/∂s_{T-k}` of one system, T the last step, for every lag k.

    `log10` `(lags, B, size)`, from the largest down; `-inf` stands for exactly 0.
    """

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `-inf` becomes None."""
        return {"system": self.system.to_dict(), "lags": self.lags.tolist(), "log10": to_lists(self.log10)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> SingularValues:
        """The inverse of `to_dict`."""
        system, lags = System(**fields["system"]), np.array(fields["lags"], dtype=np.int64)
        return cls(system, lags, from_lists(fields["log10"], (len(lags), -1, system.size)))


@dataclass(frozen=True, eq=False)
class JacobianSingularValues(Record[SingularValues]):
    """The singular values of `∂s_T/∂s_{T-k}` of every layer and direction, and of each stack as one system."""

    KIND: ClassVar[str] = "record of Jacobian singular values"
    VERSION: ClassVar[int] = 1
    PART: ClassVar[type[Measurement]] = SingularValues

    def summary(self) -> pd.DataFrame:
        """One row per system, lag and sample.

        Columns log10_largest, log10_smallest, log10_condition and carrying, the share of directions that still carry
        1/1000.
        """
        return pd.concat([part.summary() for part in self.parts], ignore_index=True)
