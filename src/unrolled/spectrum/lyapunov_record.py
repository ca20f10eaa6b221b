"""Lyapunov exponents as a record: per system and sample, over time, and the numbers that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from unrolled.spectrum.codec import Measurement, Record, from_lists, to_lists
from unrolled.spectrum.system import System

# Nats per step: above what QR in float64 makes of an exponent of exactly 0, below any exponent that means something.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Exponents:
    """The `k` largest exponents of one system, in nats per step; `-inf` where a direction is lost for good.

    `values` `(B, k)`, from the largest down in every sample. `running` `(R, B, k)` are the estimates after `times`
    `(R,)` steps, the last of which is `steps`; steps count from the end of the warm-up. `every` is the number of steps
    between two factorisations on average, `qr_every` the one asked for.
    """

    system: System
    values: np.ndarray
    times: np.ndarray
    running: np.ndarray = field(repr=False)
    warm_up: int = 0
    qr_every: int | str = "auto"
    every: float = 1.0

    @classmethod
    def joined(cls, groups: Sequence[Exponents]) -> Exponents:
        """One record from those of several groups of samples."""
        return replace(
            groups[0],
            values=np.concatenate([group.values for group in groups]),
            running=np.concatenate([group.running for group in groups], axis=1),
            every=sum(group.every * group.samples for group in groups) / sum(group.samples for group in groups),
        )

    @property
    def steps(self) -> int:
        """The number of steps that the exponents are means over."""
        return int(self.times[-1])

    @property
    def samples(self) -> int:
        """The number of samples, B."""
        return len(self.values)

    @property
    def k(self) -> int:
        """How many exponents there are."""
        return int(self.values.shape[1])

    @property
    def complete(self) -> bool:
        """Whether these are all exponents that the system has."""
        return self.k == self.system.size

    @property
    def mean(self) -> np.ndarray:
        """The mean over samples, `(k,)`."""
        result: np.ndarray = self.values.mean(0)
        return result

    @property
    def spread(self) -> np.ndarray:
        """The standard deviation over samples, `(k,)`; NaN for a single one, and where one is `-inf`."""
        if self.samples == 1:
            return np.full(self.k, np.nan)
        with np.errstate(invalid="ignore"):
            result: np.ndarray = self.values.std(0, ddof=1)
        return result

    @property
    def largest(self) -> np.ndarray:
        """λ₁, `(B,)`."""
        return self.values[:, 0]

    @property
    def sum(self) -> np.ndarray:
        """`(B,)`: the growth of a k-dimensional volume; for all exponents, the mean of ln |det J_t|."""
        result: np.ndarray = self.values.sum(1)
        return result

    @property
    def above_zero(self) -> np.ndarray:
        """`(B,)`: how many exponents are above 0; where all known ones are, there may be more."""
        result: np.ndarray = (self.values > ROUNDING).sum(1)
        return result

    @property
    def entropy_rate(self) -> np.ndarray:
        """`(B,)`: the sum of the positive exponents, in nats per step (Pesin 1977).

        It bounds the entropy rate from above in general, and equals it for a smooth invariant measure. NaN where the
        last known exponent is positive and others are not known.
        """
        total = np.maximum(self.values, 0).sum(1)
        unknown = not self.complete and self.values[:, -1] > 0
        return np.where(unknown, np.nan, total)

    @property
    def kaplan_yorke(self) -> np.ndarray:
        """`(B,)`: the dimension j + (λ₁ + … + λ_j) / |λ_{j+1}|, with the largest j for which the sum is not below 0.

        Kaplan, Yorke 1979. 0 where all are negative, NaN where it depends on exponents that are not known.
        """
        return np.array([_kaplan_yorke(sample, self.complete) for sample in self.values])

    @property
    def half_life(self) -> np.ndarray:
        """`(B,)`: the steps in which the slowest direction halves, ln 2 / -λ₁; inf where it does not."""
        with np.errstate(divide="ignore"):
            return np.where(self.largest < -ROUNDING, math.log(2) / -self.largest, np.inf)

    def frame(self) -> pd.DataFrame:
        """One row per sample and exponent.

        Columns module, call, system (`l0`, `l1.reverse`, `stack`), sample, index (1 is the largest), exponent (nats
        per step).
        """
        axes = {"sample": range(self.samples), "index": range(1, self.k + 1)}
        return self.system.table(axes, {"exponent": self.values})

    def running_frame(self) -> pd.DataFrame:
        """One row per time, which is the column step, sample and exponent."""
        axes = {"step": self.times, "sample": range(self.samples), "index": range(1, self.k + 1)}
        return self.system.table(axes, {"exponent": self.running})

    def summary(self) -> dict[str, Any]:
        """One row: means over samples, and the spread of the largest exponent."""
        largest = float(self.largest.mean())
        return {
            **self.system.columns(),
            "size": self.system.size,
            "k": self.k,
            "samples": self.samples,
            "steps": self.steps,
            "warm_up": self.warm_up,
            "every": self.every,
            "largest": largest,
            "largest_spread": float(self.spread[0]),
            "above_zero": float(self.above_zero.mean()),
            "sum": float(self.sum.mean()),
            "kaplan_yorke": float(self.kaplan_yorke.mean()),
            "entropy_rate": float(self.entropy_rate.mean()),
            "half_life": math.log(2) / -largest if largest < -ROUNDING else math.inf,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `-inf` becomes None."""
        return {
            "system": self.system.to_dict(),
            "values": to_lists(self.values),
            "times": self.times.tolist(),
            "running": to_lists(self.running),
            "warm_up": self.warm_up,
            "qr_every": self.qr_every,
            "every": self.every,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Exponents:
        """The inverse of `to_dict`."""
        times = np.array(fields["times"], dtype=np.int64)
        samples = len(fields["values"])
        arrays = {
            "times": times,
            "values": from_lists(fields["values"], (samples, -1)),
            "running": from_lists(fields["running"], (len(times), samples, -1)),
        }
        return cls(**{**fields, "system": System(**fields["system"]), **arrays})


@dataclass(frozen=True, eq=False)
class LyapunovSpectrum(Record[Exponents]):
    """The Lyapunov exponents of every layer and direction of a model, and of each stack as one system."""

    KIND: ClassVar[str] = "Lyapunov spectrum"
    VERSION: ClassVar[int] = 1
    PART: ClassVar[type[Measurement]] = Exponents

    def running_frame(self) -> pd.DataFrame:
        """The same over time: one row per system, step, sample and exponent."""
        return pd.concat([part.running_frame() for part in self.parts], ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """One row per system: the largest exponent, its spread over samples, and what follows from them."""
        return pd.DataFrame([part.summary() for part in self.parts])


def _kaplan_yorke(values: np.ndarray, complete: bool) -> float:
    sums = np.cumsum(values)
    count = int((sums >= -ROUNDING * np.arange(1, len(sums) + 1)).cumprod().sum())
    if count == len(values):
        return float(count) if complete else math.nan
    if count == 0:
        return 0.0
    return count + float(sums[count - 1] / -values[count])
