"""Lyapunov exponents as a record: per system and sample, over time, and the numbers that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from unrolled.observed.system import System
from unrolled.results.codec import Count, require
from unrolled.results.shown import Plotted
from unrolled.rollout.scaled import check_logs
from unrolled.spectrum.systems_record import SystemsRecord, check_increasing

# Nats per step: above what QR in float64 makes of an exponent of exactly 0, below any exponent that means something.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class Exponents(Plotted):
    """The `k` largest exponents of one system, in nats per step; `-inf` where a direction is lost for good.

    `values` `(B, k)`, from the largest down in every sample. `running` `(R, B, k)` are the estimates after `times`
    `(R,)` steps, the last of which is `steps`; steps count from the end of the warm-up. `every` is the number of steps
    between two factorisations on average, `qr_every` the one asked for.
    """

    VIEW = "lyapunov_spectrum"

    system: System
    values: np.ndarray
    times: np.ndarray
    running: np.ndarray
    warm_up: Count = 0
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

    def check(self) -> None:
        """Raise `ValueError` for what are no exponents."""
        check_logs(self.values, 2, "exponents")
        check_logs(self.running, 3, "running estimates")
        check_increasing(self.times, "times")
        shown = self.running.shape[2]
        shape = (len(self.times), self.samples, shown)
        require(
            self.running.shape == shape and shown in (1, self.k), f"estimates {shape}, got {self.running.shape}"
        )
        require(
            np.array_equal(self.running[-1], self.values[:, :shown]), "exponents as they were estimated last"
        )
        for values in (self.values, self.running):
            require((values[..., 1:] <= values[..., :-1]).all(), "exponents from the largest down")
        require(self.k <= self.system.size, f"at most {self.system.size} exponents, got {self.k}")
        check_interval(self.qr_every)
        require(1 <= self.every <= self.steps + self.warm_up, "at least a step between two factorisations")

    def check_steps(self, steps: int) -> None:
        """Raise `ValueError` unless these can be from an input of so many steps."""
        require(self.warm_up + self.steps == steps, f"{steps} steps, {self.warm_up} of them warm-up")


@dataclass(frozen=True, eq=False, repr=False)
class LyapunovSpectrum(SystemsRecord[Exponents]):
    """The Lyapunov exponents of every layer and direction of a model, and of each stack as one system."""

    FORMAT, VIEW = "unrolled.lyapunov_spectrum", "lyapunov_spectrum"
    # 2: null is None and nothing else, an exponent of a lost direction "-inf"; `parts` for `systems`.
    VERSION = 2

    def check(self) -> None:
        """Raise `ValueError` for what are no spectra of one model."""
        super().check()
        most = max(part.k for part in self.parts)
        require(all(part.k == min(most, part.system.size) for part in self.parts), "as many exponents of all")
        require(len({(part.warm_up, part.qr_every) for part in self.parts}) == 1, "one warm-up and interval")

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


def check_interval(qr_every: int | str) -> None:
    """Raise `ValueError` unless this is "auto" or a number of steps."""
    require(
        qr_every == "auto" or (isinstance(qr_every, int) and qr_every >= 1), f"an interval, got {qr_every!r}"
    )
