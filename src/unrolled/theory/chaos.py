"""Two chaotic systems whose Lyapunov exponents are known: Hénon's map, and Lorenz' equations by Runge-Kutta."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.checks import check_size

Point = tuple[Any, ...]  # a number for each coordinate, or a tensor `(B,)`

HENON_A, HENON_B = 1.4, 0.3
SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3
# Units of time of one Runge-Kutta step: its error in the sum of the exponents is 2e-5, in each far below what is known.
LORENZ_DT = 0.01


@dataclass(frozen=True)
class ChaoticSystem:
    """A system with an attractor, as a map: what `advance` does to a point is one step, of `dt` units of time.

    `exponents` are all that it has, from the largest down, in nats per unit of time, by `source`; for a map a
    step is the unit.
    """

    name: str
    advance: Callable[[Point], Point]
    start: tuple[float, ...]
    dt: float
    exponents: tuple[float, ...]
    source: str

    @property
    def unit(self) -> str:
        """What the exponents are per: a map has no other time than its steps."""
        return "step" if self.dt == 1 else "unit of time"

    def step(self, _: Tensor, state: Tensor) -> Tensor:
        """The next states of `(B, n)`, in the form that `step_lyapunov_spectrum` takes; there is no input."""
        return torch.stack(self.advance(state.unbind(-1)), dim=-1)

    def trajectory(self, points: int, *, every: int = 1, transient: int = 1000) -> np.ndarray:
        """So many points `(points, n)` on the attractor, `every` steps apart, after `transient` steps from `start`.

        In float64, by sums and products of single numbers, which have the same last digit on every processor:
        the trajectory of a chaotic system would otherwise be another one everywhere.
        """
        check_size("points", points)
        check_size("every", every)
        point: Point = self.start
        for _ in range(transient):
            point = self.advance(point)
        found = [point]
        for _ in range(points - 1):
            for _ in range(every):
                point = self.advance(point)
            found.append(point)
        return np.array(found)


def _henon(point: Point) -> Point:
    """`x' = 1 - a x² + y`, `y' = b x` (Hénon 1976, with his a and b); |det J| is b everywhere."""
    x, y = point
    return 1 - HENON_A * (x * x) + y, HENON_B * x


def _lorenz(point: Point) -> Point:
    """One classical fourth-order Runge-Kutta step of Lorenz' equations."""
    first = _flow(point)
    second = _flow(_moved(point, first, LORENZ_DT / 2))
    third = _flow(_moved(point, second, LORENZ_DT / 2))
    fourth = _flow(_moved(point, third, LORENZ_DT))
    return tuple(
        x + LORENZ_DT / 6 * (a + 2 * b + 2 * c + d)
        for x, a, b, c, d in zip(point, first, second, third, fourth, strict=True)
    )


def _flow(point: Point) -> Point:
    """The velocity (Lorenz 1963, equations 25 to 27); its divergence is -(σ + 1 + β) everywhere."""
    x, y, z = point
    return SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z


def _moved(point: Point, velocity: Point, time: float) -> Point:
    return tuple(x + time * v for x, v in zip(point, velocity, strict=True))


HENON = ChaoticSystem(
    name="Hénon map",
    advance=_henon,
    start=(0.0, 0.0),
    dt=1.0,
    exponents=(0.41922, -1.62319),
    source="Sprott 2003, for a = 1.4, b = 0.3 (Hénon 1976); Wolf et al. 1985 have 0.603 and -2.34 bits",
)
LORENZ = ChaoticSystem(
    name="Lorenz system",
    advance=_lorenz,
    start=(1.0, 1.0, 1.0),
    dt=LORENZ_DT,
    exponents=(0.9056, 0.0, -14.5723),
    source="Sprott 2003, for σ = 10, ρ = 28, β = 8/3 (Lorenz 1963)",
)
