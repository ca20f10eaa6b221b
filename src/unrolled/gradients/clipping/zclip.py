"""`zclip:Z`: like `norm`, where the global norm lies more than Z standard deviations above the mean of those so far.

ZClip: Kumar, Owen, Chowdhury, Güra 2025 (arXiv 2504.02507). Mean and variance are exponential averages of the norms
after clipping, `m <- a m + (1 - a) g` and then `v <- a v + (1 - a) (g - m)^2` with a = 0.97, begun by those of the
first 25 norms, during which nothing is clipped. Where `z = (g - m) / (sqrt(v) + 1e-6)` exceeds Z, the norm becomes
`m + Z sqrt(v) Z / z`: the farther out, the closer to the mean. The authors take Z = 2.5.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from torch import nn
from torch.nn.utils import clip_grad_norm_

from unrolled.gradients.clipping.norm import GlobalNorm

SMOOTHING = 0.97
WARM_UP = 25  # norms that the averages begin with
EPSILON = 1e-6  # added to the standard deviation that is divided by
LARGEST = 500.0  # log2 of a norm whose square float64 holds


class ZScore(GlobalNorm):
    """The history is the first norms, and once they are there, mean and variance in their place.

    A norm beyond float64 is clipped to the mean, and does not count among the first ones.
    """

    meaning = "the largest number of standard deviations above the mean"
    finds_bound = True

    def bound_now(self, log2_norm: float, history: list[float]) -> float:
        """The threshold for this norm; inf where nothing is clipped."""
        norm = 2.0**log2_norm if log2_norm < LARGEST else math.inf
        if len(history) < WARM_UP:
            if norm < math.inf:
                history.append(norm)
            if len(history) == WARM_UP:
                mean = math.fsum(history) / WARM_UP
                history += [mean, math.fsum((each - mean) ** 2 for each in history) / WARM_UP]
            return math.inf
        mean, variance = history[WARM_UP:]
        deviation = math.sqrt(variance)
        z = (norm - mean) / (deviation + EPSILON)
        bound = math.inf
        if z > self.bound:
            bound = max(mean + self.bound * deviation * (self.bound / z), sys.float_info.min)
        norm = min(norm, bound)
        mean = SMOOTHING * mean + (1 - SMOOTHING) * norm
        history[WARM_UP:] = [mean, SMOOTHING * variance + (1 - SMOOTHING) * (norm - mean) ** 2]
        return bound

    def clip_as_torch_(self, parameters: Sequence[nn.Parameter], norms: Sequence[float]) -> bool:
        """`clip_grad_norm_` at the threshold that all `norms` lead to."""
        history: list[float] = []
        bound = math.inf
        for norm in norms:
            bound = self.bound_now(math.log2(norm) if norm else -math.inf, history)
        if bound < math.inf:
            clip_grad_norm_(parameters, bound)
        return True
