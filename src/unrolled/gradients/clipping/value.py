"""`value:V`: each entry of the gradient between -V and V, which may turn its direction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import clip_grad_value_

from unrolled.gradients.clipping.any_range import AnyRange, Changed
from unrolled.gradients.clipping.in_range import InRange, Outcome, numbers
from unrolled.gradients.clipping.mode import Mode
from unrolled.rollout.scaled import Scaled


class EachEntry(Mode):
    """Each entry on its own."""

    meaning = "the largest size of an entry"

    def clip(self, gradients: AnyRange, bound: float) -> Changed:
        """Clamp the entries. A gradient that is within bounds keeps its exponent."""
        clipped, touched = [], []
        for gradient in gradients.gradients:
            values = Scaled(gradient.mantissa.double(), gradient.exponent).value()
            touched.append(int((values.abs() > bound).sum()))
            clipped.append(Scaled.of(values.clamp(-bound, bound)) if touched[-1] else gradient)
        return Changed(clipped, touched)

    def clip_(self, gradients: InRange, bound: float) -> Outcome:
        """Clamp the entries."""
        figures = []
        for gradient in gradients.gradients:
            before = gradient.double()
            after = before.clamp(-bound, bound)
            figures += [(before.abs() > bound).sum(), torch.sum(before * after), torch.sum(after * after)]
            gradient.copy_(after)
        values = numbers([figure.double() for figure in figures])
        norm = math.sqrt(math.fsum(values[2::3]))
        return Outcome(norm, gradients.cosine(math.fsum(values[1::3]), norm), [int(k) for k in values[::3]])

    def clip_as_torch_(self, parameters: Sequence[nn.Parameter], norms: Sequence[float]) -> bool:
        """`clip_grad_value_`."""
        clip_grad_value_(parameters, self.bound)
        return True
