"""The plain recurrence, `h_t = f(W x_t + b + U h_{t-1})` with `f` tanh or relu."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.cells.linearised import Buffers, Linearised, summed
from unrolled.cells.push_forward import Push, PushForward, Steps, by_sample, inverted, per_step
from unrolled.cells.weights import Weights, add_outer


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


class PushedRNN(PushForward):
    """`h_t' = f'(a_t) (U h_{t-1}' + W x_t')`, a prime for a tangent."""

    lower = 0.2

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None) -> None:
        self.size = self.output_size = h.shape[-1]
        self.from_h, self.from_x = weights.weight_hh, weights.weight_ih
        self.slope_planes = self.slope(h[1:])
        (self.slopes,) = per_step(self.slope_planes)

    def slope(self, h: Tensor) -> Tensor:
        """`f'` by way of the state: `1 - tanh²`."""
        return 1 - h * h

    def step(self, t: int, v: Tensor, out: Tensor, below: Tensor | None = None) -> None:
        """Two operations a step, three above another layer."""
        torch.mm(self.from_h, v, out=out)
        if below is not None:
            out.addmm_(self.from_x, below)
        slope = self.slopes[t]
        by_sample(out, slope).mul_(slope)

    def inverse(self) -> Push | None:
        """`J_t⁻ᵀ = diag(1 / f') U⁻ᵀ`, unless a unit is saturated to the last digit."""
        weight = inverted(self.from_h)
        if weight is None or not bool((self.slope_planes > 0).all()):
            return None
        return InverseRNN(weight, 1 / self.slope_planes)


class InverseRNN(Steps):
    """The steps of `J_t⁻ᵀ`, `weight` being `U⁻ᵀ`."""

    def __init__(self, weight: Tensor, planes: Tensor) -> None:
        self.weight = weight
        (self.factors,) = per_step(planes)

    def step(self, t: int, v: Tensor, out: Tensor) -> None:
        """Two operations a step."""
        torch.mm(self.weight, v, out=out)
        factor = self.factors[t]
        by_sample(out, factor).mul_(factor)


class PushedReluRNN(PushedRNN):
    """`nonlinearity="relu"`."""

    def slope(self, h: Tensor) -> Tensor:
        """1 where the unit is active and 0 elsewhere, at the kink too, as in torch."""
        return (h > 0).to(h.dtype)
