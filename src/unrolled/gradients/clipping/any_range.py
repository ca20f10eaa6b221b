"""Gradients of any size, with exponents, to be clipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from unrolled.rollout.scaled import Scaled, log2_total


@dataclass(frozen=True)
class Changed:
    """Gradients after clipping, and how many entries of each were touched."""

    gradients: list[Scaled]
    touched: list[int]


@dataclass(frozen=True)
class AnyRange:
    """Gradients, log2 of the L2 norm of each and of all, and the weights they belong to, where these are known.

    A gradient that a parameter holds as a sparse tensor has the shape of the values stored in it.
    """

    gradients: list[Scaled]
    weights: Sequence[Tensor]
    log2_norms: list[float]
    log2_total: float

    @classmethod
    def of(cls, gradients: list[Scaled], weights: Sequence[Tensor] = ()) -> AnyRange:
        """The gradients with their norms."""
        log2_norms = [float(gradient.log2_norm()) for gradient in gradients]
        return cls(gradients, weights, log2_norms, log2_total(log2_norms))

    def scaled(self, log2_factors: Sequence[float]) -> Changed:
        """Each gradient times its factor, where that is below 1."""
        pairs = list(zip(self.gradients, log2_factors, strict=True))
        return Changed(
            [
                _scaled(gradient, log2_factor) if log2_factor < 0 else gradient
                for gradient, log2_factor in pairs
            ],
            [gradient.mantissa.numel() if log2_factor < 0 else 0 for gradient, log2_factor in pairs],
        )


def _scaled(gradient: Scaled, log2_factor: float) -> Scaled:
    whole = math.floor(log2_factor)
    return gradient.scale(2.0 ** (log2_factor - whole), whole)
