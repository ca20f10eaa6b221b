"""The exponents of one system, followed from the upper end of its spectrum alone or from both ends.

The wider a spectrum, the sooner tangents collapse onto the fastest direction and have to be factorised. But where
`Q_t R_t = J_t Q_{t-1}`, also `J_t⁻ᵀ Q_{t-1} = Q_t R_t⁻ᵀ`, which is lower triangular: the last columns of Q, taken from
the last one on, are pushed by `J_t⁻ᵀ` alone and grow by `1 / R_ii`. So where a step is cheap to invert, two sets of
tangents give the same R_ii as a single one, and each spans only a part of the width. The smallest exponents lie
furthest apart, so the lower set is the smaller one.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor

from unrolled.cells.push_forward import Push, Steps
from unrolled.observed.system import System
from unrolled.spectrum.tangents import Tangents

# Numbers in a state: with fewer, a second set of tangents costs more than it saves.
WORTH_TWO = 48


class NotInvertibleError(Exception):
    """A step turned out to have no inverse; the spectrum has to be followed from its upper end alone."""


class TwoSided:
    """`start` `(n, k)` are orthonormal columns, of which the last are pushed by inverse steps.

    `lower` is the share of these, rounded so that a `multiple` of columns is left; none are where fewer than all n
    exponents are asked for. The other arguments are those of `Tangents`.
    """

    def __init__(
        self,
        system: System,
        start: Tensor,
        batch: int,
        qr_every: int | str,
        lower: float,
        warming_up: bool,
        multiple: int = 1,
    ) -> None:
        size, k = start.shape
        self.system = system
        worth = qr_every == "auto" and k == size and size >= WORTH_TWO
        last = k - multiple * round((1 - lower) * k / multiple) if worth and lower else 0
        make = partial(
            Tangents, system, batch=batch, qr_every=qr_every, warming_up=warming_up, multiple=multiple
        )
        self.upper = make(start[:, : k - last])
        self.lower = make(start[:, k - last :].flip(1)) if last else None
        for side in self.sides:
            side.add_set()

    @property
    def sides(self) -> list[Tangents]:
        """The upper one, or both."""
        return [self.upper] if self.lower is None else [self.upper, self.lower]

    def pushes(self, steps: Steps) -> list[Push]:
        """The steps that push each side. Raises `NotInvertibleError`."""
        if self.lower is None:
            return [steps]
        inverse = steps.inverse()
        if inverse is None:
            raise NotInvertibleError
        return [steps, inverse]

    def read(self) -> np.ndarray:
        """`(B, k)`: logarithms of how much the orthogonal parts have grown so far."""
        grown = self.upper.read()[:, 0]
        if self.lower is not None:
            grown = np.concatenate((grown, -self.lower.read()[:, 0, ::-1]), axis=-1)
        return grown

    def orthonormalise(self) -> None:
        """Make each side orthonormal and forget all growth: the end of a warm-up."""
        for side in self.sides:
            side.orthonormalise()

    @property
    def mean_interval(self) -> float:
        """Steps between two factorisations, on average over vectors."""
        steps = sum(side.steps * side.k for side in self.sides)
        return steps / sum(side.factorisations * side.k for side in self.sides)
