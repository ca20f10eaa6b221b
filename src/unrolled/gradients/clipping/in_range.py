"""Gradients that float32 holds with room to spare, to be clipped in place: without exponents, so at little cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Global norms for which every factor and product below stays in float32's normal range.
SMALLEST, LARGEST = 1e-15, 1e15
# Factors from which on a product in float32 is one rounding away from the exact one.
SMALL_FACTOR = 1e-30
# Norms are taken in float64, where the squares of float32 neither over- nor underflow, and its own do not
# between the two norms above.
DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Outcome:
    """The global norm after clipping, the cosine to the gradient before, and the entries touched in each tensor."""

    norm: float
    cosine: float
    touched: list[int]


@dataclass(frozen=True)
class InRange:
    """Gradients, the L2 norm of each and of all, and the weights they belong to.

    A gradient that a parameter holds as a sparse tensor is the values stored in it.
    """

    gradients: list[Tensor]
    weights: Sequence[Tensor]
    norms: list[float]
    total: float

    @classmethod
    def of(cls, gradients: list[Tensor], weights: Sequence[Tensor] = ()) -> InRange | None:
        """The gradients with their norms; None where these are too small, too large, or not finite."""
        if not gradients or any(gradient.dtype not in DTYPES for gradient in gradients):
            return None
        norms = numbers(torch._foreach_norm(list(gradients), 2, torch.float64))
        total = math.hypot(*norms)
        # A norm that is NaN or inf fails this too.
        return cls(gradients, weights, norms, total) if total == 0 or SMALLEST <= total <= LARGEST else None

    def unchanged(self) -> Outcome:
        """What there is to say where no gradient is touched."""
        return Outcome(self.total, 1.0, [0] * len(self.gradients))

    def scale_(self, factor: float) -> Outcome:
        """All gradients times one factor, where that is below 1; the direction stays."""
        if factor >= 1:
            return self.unchanged()
        _scale_(self.gradients, factor)
        return Outcome(self.total * factor, 1.0, [gradient.numel() for gradient in self.gradients])

    def scale_each_(self, factors: Sequence[float]) -> Outcome:
        """Each gradient times a factor of its own, where that is below 1."""
        touched = [0] * len(factors)
        after = list(self.norms)
        for k, (gradient, factor) in enumerate(zip(self.gradients, factors, strict=True)):
            if factor < 1:
                _scale_([gradient], factor)
                after[k] *= factor
                touched[k] = gradient.numel()
        dot = math.fsum(before * norm for before, norm in zip(self.norms, after, strict=True))
        return Outcome(math.hypot(*after), self.cosine(dot, math.hypot(*after)), touched)

    def cosine(self, dot: float, norm: float) -> float:
        """To a gradient of this norm, from the dot product with it; 1 where either is 0."""
        cosine = dot / self.total / norm if self.total and norm else 1.0
        return min(max(cosine, -1.0), 1.0)  # rounding may carry it out of its range


def numbers(scalars: Sequence[Tensor]) -> list[float]:
    """The values of scalars on any devices; from an accelerator with one transfer for all."""
    if all(scalar.is_cpu for scalar in scalars):
        return [scalar.item() for scalar in scalars]
    device = next(scalar.device for scalar in scalars if not scalar.is_cpu)
    values: list[float] = torch.stack([scalar.to(device) for scalar in scalars]).tolist()
    return values


def _scale_(gradients: list[Tensor], factor: float) -> None:
    """Times `factor`, with one rounding to each gradient's dtype."""
    if factor >= SMALL_FACTOR:
        torch._foreach_mul_(list(gradients), factor)
        return
    for gradient in gradients:
        gradient.copy_(gradient.double() * factor)
