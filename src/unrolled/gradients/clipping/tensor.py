"""`tensor:M`: the L2 norm of each parameter's gradient at most M, by a factor of its own.

The global norm of P parameters is then at most M √P, and the direction may turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.utils import clip_grad_norm_

from unrolled.gradients.clipping.any_range import AnyRange, Changed
from unrolled.gradients.clipping.in_range import InRange, Outcome
from unrolled.gradients.clipping.mode import Mode
from unrolled.gradients.clipping.norm import EPSILON, log2_factor


class EachTensor(Mode):
    """Each parameter on its own."""

    meaning = "the largest norm of a parameter's gradient"

    def clip(self, gradients: AnyRange, bound: float) -> Changed:
        """A factor for each."""
        return gradients.scaled([log2_factor(log2_norm, bound) for log2_norm in gradients.log2_norms])

    def clip_(self, gradients: InRange, bound: float) -> Outcome:
        """A factor for each."""
        return gradients.scale_each_([bound / (norm + EPSILON) for norm in gradients.norms])

    def clip_as_torch_(self, parameters: Sequence[nn.Parameter], norms: Sequence[float]) -> bool:
        """`clip_grad_norm_`, parameter by parameter."""
        for parameter in parameters:
            clip_grad_norm_(parameter, self.bound)
        return True
