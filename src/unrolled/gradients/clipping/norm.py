"""`norm:M`: one factor for all parameters, so that the global L2 norm is at most M.

Pascanu, Mikolov, Bengio 2013, algorithm 1. As in `torch.nn.utils.clip_grad_norm_` the factor is
`M / (norm + 1e-6)` where that is below 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn
from torch.nn.utils import clip_grad_norm_

from unrolled.gradients.clipping.any_range import AnyRange, Changed
from unrolled.gradients.clipping.in_range import InRange, Outcome
from unrolled.gradients.clipping.mode import Mode

EPSILON = 1e-6  # added to the norm that is divided by, as torch does


class GlobalNorm(Mode):
    """The direction of the gradient is kept."""

    meaning = "the largest global norm"
    bounds_norm = True

    def clip(self, gradients: AnyRange, bound: float) -> Changed:
        """One factor for all."""
        return gradients.scaled([log2_factor(gradients.log2_total, bound)] * len(gradients.gradients))

    def clip_(self, gradients: InRange, bound: float) -> Outcome:
        """One factor for all."""
        return gradients.scale_(bound / (gradients.total + EPSILON))

    def clip_as_torch_(self, parameters: Sequence[nn.Parameter], norms: Sequence[float]) -> bool:
        """`clip_grad_norm_`."""
        clip_grad_norm_(parameters, self.bound)
        return True


def log2_factor(log2_norm: float, bound: float) -> float:
    """log2 of `bound / (norm + 1e-6)`; beyond 2**60 the 1e-6 is below one rounding of the norm."""
    return math.log2(bound) - (log2_norm if log2_norm > 60 else math.log2(2.0**log2_norm + EPSILON))
