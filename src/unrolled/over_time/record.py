"""How many iterations Newton's method takes over all steps at once, beside the exponent that predicts it: a record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from unrolled.environment import Environment
from unrolled.networks.record import NetworkRecord
from unrolled.newton.attempt import TENTH
from unrolled.over_time.measured import Exponent, Growth, Iterations, Measured
from unrolled.results.codec import Positive, Size, require
from unrolled.results.record import Record

BYTES = 8  # of a number, which is float64
FLAT = 0.5  # power of T below which K grows nearer to not at all than in proportion


@dataclass(frozen=True, eq=False, repr=False)
class Parallel(Record):
    """What was measured of each network at each of `lengths`; `networks` is empty where a module was given."""

    FORMAT, VIEW = "unrolled.parallel", "parallel"
    VERSION = 1

    lengths: tuple[Size, ...]
    tolerance: Positive
    limit: Size | None
    networks: tuple[NetworkRecord, ...]
    measured: tuple[Measured, ...]
    environment: Environment

    @property
    def exponent(self) -> Exponent:
        """Of the first network."""
        return self.measured[0].exponent

    @property
    def iterations(self) -> dict[str, tuple[int, ...]]:
        """Of the first network, one for each length: with `full` and with `diagonal` Jacobians."""
        first = self.measured[0]
        return {"full": first.full.counts, "diagonal": first.diagonal.counts}

    @property
    def verdict(self) -> str:
        """Of the first network, in one sentence: what its exponent predicts, and what was measured."""
        return self.sentence(self.measured[0])

    def growth(self, found: Measured, kind: str = "full") -> Growth:
        """Of the iterations of a network with T, over the lengths at which they converged."""
        of = found.diagonal if kind == "diagonal" else found.full
        known = [
            pair
            for pair, came in zip(zip(self.lengths, of.counts, strict=True), of.converged, strict=True)
            if came
        ]
        return Growth.of(tuple(length for length, _ in known), tuple(count for _, count in known))

    def holds(self, found: Measured) -> bool:
        """Whether K is as predicted."""
        return found.predicted == self.is_parallel(found)

    def is_parallel(self, found: Measured) -> bool:
        """Whether K at the longest T is at most a tenth of it, or grows slower than the root of T over the lengths."""
        few = TENTH * found.full.counts[-1] <= self.lengths[-1]
        return all(found.full.converged) and (few or self.growth(found).power < FLAT)

    def memory(self, found: Measured) -> int:
        """Bytes of the Jacobians of all steps at the longest length; the scan takes about as many again."""
        return BYTES * self.lengths[-1] * found.batch_size * found.state_size**2

    def sentence(self, found: Measured) -> str:
        """`Parallel over time: yes, in 5 iterations at T = 1000 (K ~ T^0.0); the exponent, −0.21, says so too.`"""
        count, longest = found.full.counts[-1], self.lengths[-1]
        exponent = f"{found.exponent.value:+.3g}".replace("-", "−").replace("+−", "−")
        power = self.growth(found).power
        grown = "" if math.isnan(power) else f" (K ~ T^{round(power, 2) + 0.0:.2f})".replace("-", "−")
        many = f"{'' if found.full.converged[-1] else 'more than '}{count} iteration{'s' * (count != 1)}"
        answer = f"yes, in {many}" if self.is_parallel(found) else f"no, it takes {many}"
        says = "says so too" if self.holds(found) else "says otherwise"
        reason = f"the largest exponent, {exponent},"
        if found.exponent.value < 0 and not found.forgets:
            reason = f"the largest exponent is {exponent}, but that it does not forget how it began"
        unsure = "" if found.exponent.is_sure else ", though its interval has both signs"
        return f"Parallel over time: {answer} at T = {longest}{grown}; {reason} {says}{unsure}."

    def iterations_frame(self) -> pd.DataFrame:
        """A row per network, kind of Jacobian and length."""
        return pd.DataFrame([row for found in self.measured for row in self._rows(found)])

    def _rows(self, found: Measured) -> list[dict[str, Any]]:
        return [
            {
                "network": found.network,
                "jacobian": kind,
                "length": length,
                "iterations": count,
                "damped": damped,
                "converged": converged,
            }
            for kind, of in (("full", found.full), ("diagonal", found.diagonal))
            for length, count, damped, converged in zip(
                self.lengths, of.counts, of.damped, of.converged, strict=True
            )
        ]

    def networks_frame(self) -> pd.DataFrame:
        """A row per network: exponent, growth of K, prediction, memory."""
        return pd.DataFrame([self._row(found) for found in self.measured])

    def _row(self, found: Measured) -> dict[str, Any]:
        full, diagonal = self.growth(found), self.growth(found, "diagonal")
        return {
            "network": found.network,
            "system": found.system,
            "state_size": found.state_size,
            "exponent": found.exponent.value,
            "low": found.exponent.low,
            "high": found.exponent.high,
            "forgets": found.forgets,
            "predicted": found.predicted,
            "iterations": found.full.counts[-1],
            "power": full.power,
            "power_error": full.error,
            "parallel": self.is_parallel(found),
            "holds": self.holds(found),
            "diagonal_iterations": found.diagonal.counts[-1],
            "diagonal_power": diagonal.power,
            "diagonal_power_error": diagonal.error,
            "error": found.error,
            "jacobian_bytes": self.memory(found),
        }

    @property
    def units(self) -> str:
        """The hidden units of its networks, for titles."""
        return self.networks[0].units if self.networks else ""

    def describe(self) -> str:
        """Two lines for the foot of a plot: what was measured, and on what machine."""
        sizes = f", {self.networks[0].sizes}" if self.networks else ""
        return (
            f"Newton's method from a first guess of 0, float64, to a residual of {self.tolerance:g}{sizes}\n"
            f"{self.environment.describe()}"
        )

    def check(self) -> None:
        """Raise `ValueError` for what is not of one measurement, or the beginning of one."""
        require(
            len(self.lengths) > 0 and list(self.lengths) == sorted(set(self.lengths)), "lengths that increase"
        )
        require(len(self.measured) > 0, "a network")
        names = [found.network for found in self.measured]
        require(len(set(names)) == len(names), "a name for each network")
        if self.networks:
            require(names == [each.name for each in self.networks][: len(names)], "networks in their order")
        for found in self.measured:
            for iterations in (found.full, found.diagonal):
                self._check(iterations)

    def _check(self, iterations: Iterations) -> None:
        require(len(iterations.counts) == len(self.lengths), "iterations at each length")
        for length, count, damped in zip(self.lengths, iterations.counts, iterations.damped, strict=True):
            require(damped <= count <= min(length, self.limit or length), "at most as many iterations as steps")
