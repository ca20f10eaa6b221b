"""Clipping gradients of an ordinary size in place: without exponents, so at little cost."""

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
# Norms are taken in float64, where no finite float32 over- or underflows, and its own gradients' squares do not
# in the range above.
DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Clipped:
    """What was done: the norm after it, the cosine to the gradient before, entries touched per tensor."""

    norm: float
    cosine: float
    touched: list[int]


@dataclass(frozen=True)
class Ordinary:
    """Gradients with their L2 norms, each and `total`, where all of these are in the ordinary range."""

    gradients: Sequence[Tensor]
    norms: list[float]
    total: float

    @classmethod
    def of(cls, gradients: Sequence[Tensor]) -> Ordinary | None:
        """The gradients with their norms; None where they are too small, too large, or not finite."""
        if not gradients or any(
            gradient.dtype not in DTYPES or gradient.layout != torch.strided for gradient in gradients
        ):
            return None
        each = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in gradients]
        norms = torch.stack(each).tolist()  # one transfer from the device
        total = math.hypot(*norms)
        # A norm that is NaN or inf fails this too.
        return cls(gradients, norms, total) if total == 0 or SMALLEST <= total <= LARGEST else None

    def clip_norm_(self, bound: float, epsilon: float) -> Clipped:
        """One factor for all: the direction stays."""
        factor = min(bound / (self.total + epsilon), 1.0)
        if factor < 1:
            for gradient in self.gradients:
                _scale_(gradient, factor)
        return Clipped(
            self.total * factor, 1.0, [gradient.numel() * (factor < 1) for gradient in self.gradients]
        )

    def clip_tensors_(self, bound: float, epsilon: float) -> Clipped:
        """A factor for each tensor."""
        factors = [min(bound / (norm + epsilon), 1.0) for norm in self.norms]
        for gradient, factor in zip(self.gradients, factors, strict=True):
            if factor < 1:
                _scale_(gradient, factor)
        after = [norm * factor for norm, factor in zip(self.norms, factors, strict=True)]
        dot = math.fsum(one * other for one, other in zip(self.norms, after, strict=True))
        touched = [
            gradient.numel() * (factor < 1) for gradient, factor in zip(self.gradients, factors, strict=True)
        ]
        return Clipped(math.hypot(*after), self._cosine(dot, math.hypot(*after)), touched)

    def clip_values_(self, bound: float) -> Clipped:
        """Each entry on its own."""
        figures = []
        for gradient in self.gradients:
            before = gradient.double()
            after = before.clamp(-bound, bound)
            figures += [(before.abs() > bound).sum(), torch.sum(before * after), torch.sum(after * after)]
            gradient.copy_(after)
        values = torch.stack([value.double() for value in figures]).tolist()
        norm = math.sqrt(math.fsum(values[2::3]))
        return Clipped(norm, self._cosine(math.fsum(values[1::3]), norm), [int(count) for count in values[::3]])

    def _cosine(self, dot: float, norm: float) -> float:
        cosine = dot / self.total / norm if self.total and norm else 1.0
        return min(max(cosine, -1.0), 1.0)  # rounding may carry it out of its range


def _scale_(gradient: Tensor, factor: float) -> None:
    """Times `factor`, with one rounding to the gradient's dtype."""
    if factor < SMALL_FACTOR:
        gradient.copy_(gradient.double() * factor)
    else:
        gradient.mul_(factor)
