"""`none`: every gradient stays as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from unrolled.errors import InvalidValueError
from unrolled.gradients.clipping.any_range import AnyRange, Changed
from unrolled.gradients.clipping.in_range import InRange, Outcome
from unrolled.gradients.clipping.mode import Mode


class Unclipped(Mode):
    """No clipping, and so no bound."""

    works_on_gradients = False

    def check(self, bound: object) -> float:
        """inf, for no bound. Raises `InvalidValueError` for any other."""
        if bound is not None:
            raise InvalidValueError(f"clip: expected no bound for {self.name}, got {bound}; write {self.name}")
        return math.inf

    def clip(self, gradients: AnyRange, bound: float) -> Changed:
        """As they are."""
        return Changed(gradients.gradients, [0] * len(gradients.gradients))

    def clip_(self, gradients: InRange, bound: float) -> Outcome:
        """As they are."""
        return gradients.unchanged()

    def clip_as_torch_(self, parameters: Sequence[nn.Parameter], norms: Sequence[float]) -> bool:
        """As they are."""
        return True
