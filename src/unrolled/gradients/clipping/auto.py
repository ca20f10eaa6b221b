"""`auto:P`: like `norm`, at the P-th percentile of all global norms so far, this one included.

AutoClip: Seetharaman, Wichern, Pardo, Le Roux 2020, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import nn
from torch.nn.utils import clip_grad_norm_

from unrolled.errors import InvalidValueError
from unrolled.gradients.clipping.norm import GlobalNorm


class Percentile(GlobalNorm):
    """The history is log2 of the norms so far, before clipping."""

    meaning = "a percentile of the norms so far"
    finds_bound = True

    def check(self, bound: object) -> float:
        """A percentile above 0 and up to 100."""
        percentile = super().check(bound)
        if percentile > 100:
            raise InvalidValueError(
                f"clip: expected a percentile up to 100 for {self.name}, got {percentile}; try {self.name}:10"
            )
        return percentile

    def bound_now(self, log2_norm: float, history: list[float]) -> float:
        """The percentile in linear terms, relative to the largest norm so that none is out of range."""
        history.append(log2_norm)
        largest = max(history)
        if largest == -math.inf:
            return math.inf
        share = float(np.percentile(np.exp2(np.array(history) - largest), self.bound))
        try:
            return float(math.ldexp(share, math.floor(largest)) * 2.0 ** (largest - math.floor(largest)))
        except OverflowError:  # a percentile beyond float64 bounds nothing that float64 could hold
            return math.inf

    def clip_as_torch_(self, parameters: Sequence[nn.Parameter], norms: Sequence[float]) -> bool:
        """`clip_grad_norm_` at the percentile of `norms`."""
        clip_grad_norm_(parameters, float(np.percentile(norms, self.bound)))
        return True
