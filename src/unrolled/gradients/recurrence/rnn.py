"""The plain recurrence, `h_t = f(W x_t + b + U h_{t-1})` with `f` tanh or relu."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.gradients.recurrence.linearised import Buffers, Linearised, summed
from unrolled.gradients.recurrence.weights import Weights, add_outer


class RNN(Linearised):
    """`δ_t = f'(a_t) h̄_t` and `h̄_{t-1} = Uᵀ δ_t`; the known state gives `f'`."""

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None, buffers: Buffers) -> None:
        self.weights, self.x, self.h, self._buffers = weights, x, h, buffers
        sizes = h.shape[1:]
        slope = self.slope(h[1:], buffers("slope", len(x), *sizes))
        self.cotangents = (buffers("h_bar", *h.shape),)
        self.delta = buffers("delta", len(x), *sizes)
        self._steps = buffers.step_by_step(len(x), *self.cotangents, slope, self.delta)

    def slope(self, h: Tensor, out: Tensor) -> Tensor:
        """`f'` by way of the state, into `out`: `1 - tanh²`."""
        return torch.addcmul(h.new_ones(()), h, h, value=-1, out=out)

    def pull(self, first: int, last: int) -> None:
        """Two operations a step."""
        h_bar, slope, delta = self._steps
        weight_hh = self.weights.weight_hh
        for t in range(last - 1, first - 1, -1):
            torch.mul(h_bar[t + 1], slope[t], out=delta[t])
            h_bar[t].addmm_(delta[t], weight_hh)

    def add_gradients(self, power: Tensor, sums: dict[str, Tensor]) -> None:
        """`Σ δ_t x_tᵀ` and `Σ δ_t h_{t-1}ᵀ`."""
        weighted = torch.mul(self.delta, power, out=self._buffers("weighted", *self.delta.shape))
        add_outer(sums["weight_ih"], weighted, self.x)
        add_outer(sums["weight_hh"], weighted, self.h[:-1])
        if "bias_ih" in sums:
            bias = summed(self.delta, power)
            sums["bias_ih"] += bias
            sums["bias_hh"] += bias

    def input_cotangent(self) -> Tensor:
        """`x̄_t = Wᵀ δ_t`."""
        return self.delta @ self.weights.weight_ih


class ReluRNN(RNN):
    """`nonlinearity="relu"`."""

    def slope(self, h: Tensor, out: Tensor) -> Tensor:
        """1 where the unit is active and 0 elsewhere, at the kink too, as in torch."""
        return torch.gt(h, 0, out=out)
