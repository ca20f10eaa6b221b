"""Weight gradients summed over blocks of steps whose cotangents may differ by any power of two."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unrolled.cells.linearised import PullBack
from unrolled.cells.weights import Weights
from unrolled.rollout.scaled import Scaled, power_of_two, shift

# A cotangent that is smaller than the largest by more than this, in powers of two, adds nothing to a weight
# gradient. With DRIFT it spans less than half of the dtype's range, so one factor brings both to one exponent.
NEGLIGIBLE = {torch.float32: 60, torch.float64: 500}
# How far, in powers of two, a cotangent may exceed the exponent of the weight gradients before that is raised.
HEADROOM = 16


class WeightSums:
    """Weight gradients, summed block by block at the exponent of the largest cotangent so far."""

    def __init__(self, weights: Weights) -> None:
        self.sums = {name: torch.zeros_like(weight) for name, weight in weights.named().items()}
        self.exponent: int | None = None  # until something has been added

    def add(self, block: PullBack, exponents: Tensor, log2_norms: Tensor) -> None:
        """Add a block's gradients: one matrix product per weight.

        `exponents` `(T, B)`: those of the block's buffers. `log2_norms` `(T, B)`: of its cotangents.
        """
        top = float(log2_norms.max())
        if top == -math.inf:
            return
        if self.exponent is None or top > self.exponent + HEADROOM:
            self._rescale(math.ceil(top))
        dtype, shared = block.delta.dtype, self.exponent or 0
        # What is smaller would add nothing, and subnormal numbers would make the product ten times slower.
        lowest = shared - NEGLIGIBLE[dtype]
        if top >= lowest:
            power = power_of_two(exponents - shared, dtype).masked_fill(log2_norms < lowest, 0)
            block.add_gradients(power.unsqueeze(-1), self.sums)

    def _rescale(self, exponent: int) -> None:
        if self.exponent is not None:
            by = torch.tensor(self.exponent - exponent)
            self.sums = {name: shift(value, by.to(value.device)) for name, value in self.sums.items()}
        self.exponent = exponent

    def gradients(self) -> dict[str, Scaled]:
        """The sums, by short name."""
        return {name: Scaled.of(value).scale(1.0, self.exponent or 0) for name, value in self.sums.items()}
