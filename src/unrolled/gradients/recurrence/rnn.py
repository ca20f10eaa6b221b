"""The plain recurrence, `h_t = f(W x_t + b + U h_{t-1})` with `f` tanh or relu."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.gradients.recurrence.linearised import Linearised, buffer, summed
from unrolled.gradients.recurrence.weights import Weights, add_outer


class RNN(Linearised):
    """`δ_t = f'(a_t) h̄_t` and `h̄_{t-1} = Uᵀ δ_t`; the known state gives `f'`."""

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None = None) -> None:
        self.weights, self.x, self.h = weights, x, h
        slope = self.slope(h[1:])
        self.cotangents = (buffer(h, *h.shape),)
        self.delta = buffer(h, *slope.shape)
        self._steps = [part.unbind() for part in (*self.cotangents, slope, self.delta)]

    def slope(self, h: Tensor) -> Tensor:
        """`f'` by way of the state: `1 - tanh²`."""
        return torch.addcmul(h.new_ones(()), h, h, value=-1)

    def pull(self, first: int, last: int) -> None:
        """Two operations a step."""
        h_bar, slope, delta = self._steps
        weight_hh = self.weights.weight_hh
        for t in range(last - 1, first - 1, -1):
            torch.mul(h_bar[t + 1], slope[t], out=delta[t])
            h_bar[t].addmm_(delta[t], weight_hh)

    def add_gradients(self, power: Tensor, sums: dict[str, Tensor]) -> None:
        """`Σ δ_t x_tᵀ` and `Σ δ_t h_{t-1}ᵀ`."""
        add_outer(sums["weight_ih"], self.delta, self.x * power)
        add_outer(sums["weight_hh"], self.delta, self.h[:-1] * power)
        if "bias_ih" in sums:
            bias = summed(self.delta, power)
            sums["bias_ih"] += bias
            sums["bias_hh"] += bias

    def input_cotangent(self) -> Tensor:
        """`x̄_t = Wᵀ δ_t`."""
        return self.delta @ self.weights.weight_ih


class ReluRNN(RNN):
    """`nonlinearity="relu"`."""

    def slope(self, h: Tensor) -> Tensor:
        """1 where the unit is active and 0 elsewhere, at the kink too, as in torch."""
        return (h > 0).to(h.dtype)
