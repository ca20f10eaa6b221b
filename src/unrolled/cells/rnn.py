"""The plain recurrence of `torch.nn.RNN`, `h_t = f(W x_t + b + U h_{t-1})` with `f` tanh or relu (Elman 1990)."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from unrolled.cells.cell import Cell, Gate, State
from unrolled.cells.linearised import Buffers, Linearised, PullBack, as_columns, moved, summed
from unrolled.cells.push_forward import Push, PushForward, Steps, by_sample, inverted, per_step
from unrolled.cells.weights import Weights, add_outer


class RNN(Cell):
    """What both activations share."""

    gates = (Gate("h", "hidden state"),)
    fused, stepped = nn.RNN, nn.RNNCell
    candidate = "h"
    largest_slope = 1.0
    inverse_share = 0.2
    moves_with_weights = True

    def step(self, weights: Weights, x: Tensor, state: State) -> State:
        """`f(W x + b + U h)`."""
        return (self.activation(weights.from_x(x) + weights.from_h(state[0])),)

    @abstractmethod
    def activation(self, a: Tensor) -> Tensor:
        """`f`."""

    @abstractmethod
    def slope(self, h: Tensor, out: Tensor) -> Tensor:
        """`f'(a)` by way of `h = f(a)`, into `out`."""

    def linearise(
        self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None, buffers: Buffers
    ) -> Linearised:
        """The known states give the slopes."""
        slope = self.slope(h[1:], buffers("slope", len(x), *h.shape[1:]))
        return LinearisedRNN(weights, x, h, slope, buffers)


class TanhRNN(RNN):
    """`nonlinearity="tanh"`."""

    name, title = "rnn_tanh", "RNN tanh"
    options: ClassVar = {"nonlinearity": "tanh"}
    at_rest = (0.0, 1.0)

    def activation(self, a: Tensor) -> Tensor:
        """tanh."""
        return torch.tanh(a)

    def slope(self, h: Tensor, out: Tensor) -> Tensor:
        """`1 - tanh²`."""
        return torch.addcmul(h.new_ones(()), h, h, value=-1, out=out)


class ReluRNN(RNN):
    """`nonlinearity="relu"`."""

    name, title = "rnn_relu", "RNN relu"
    options: ClassVar = {"nonlinearity": "relu"}

    def activation(self, a: Tensor) -> Tensor:
        """relu."""
        return torch.relu(a)

    def slope(self, h: Tensor, out: Tensor) -> Tensor:
        """1 where the unit is active and 0 elsewhere, at the kink too, as in torch."""
        return torch.gt(h, 0, out=out)


class LinearisedRNN(Linearised):
    """`J_t = diag(f'(a_t)) U`."""

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, slope: Tensor, buffers: Buffers) -> None:
        self.weights, self.x, self.h, self.slope, self.buffers = weights, x, h, slope, buffers

    def pull_back(self) -> PullBack:
        """Through `J_tᵀ`."""
        return PullBackRNN(self)

    def push_forward(self) -> PushForward:
        """Through `J_t`."""
        return PushForwardRNN(self)

    def of_weights(self, changes: Weights) -> Tensor:
        """Of pre-activations."""
        pairs = ((changes.weight_ih, changes.bias_ih), (changes.weight_hh, changes.bias_hh))
        return as_columns(moved(pairs, (self.x, self.h[:-1])), changes.weight_ih.shape[1])


class PullBackRNN(PullBack):
    """`δ_t = f'(a_t) h̄_t` and `h̄_{t-1} = Uᵀ δ_t`."""

    def __init__(self, block: LinearisedRNN) -> None:
        self.block = block
        steps, *sizes = block.slope.shape
        self.cotangents = (block.buffers("h_bar", *block.h.shape),)
        self.delta = block.buffers("delta", steps, *sizes)
        self._steps = block.buffers.step_by_step("pull", steps, *self.cotangents, block.slope, self.delta)

    def pull(self, first: int, last: int) -> None:
        """Two operations a step."""
        h_bar, slope, delta = self._steps
        weight_hh = self.block.weights.weight_hh
        for t in range(last - 1, first - 1, -1):
            torch.mul(h_bar[t + 1], slope[t], out=delta[t])
            h_bar[t].addmm_(delta[t], weight_hh)

    def add_gradients(self, power: Tensor | None, sums: dict[str, Tensor]) -> None:
        """`Σ δ_t x_tᵀ` and `Σ δ_t h_{t-1}ᵀ`."""
        delta = self.delta
        if power is not None:
            delta = torch.mul(delta, power, out=self.block.buffers("weighted", *delta.shape))
        add_outer(sums["weight_ih"], delta, self.block.x)
        add_outer(sums["weight_hh"], delta, self.block.h[:-1])
        if "bias_ih" in sums:
            bias = summed(self.delta, power)
            sums["bias_ih"] += bias
            sums["bias_hh"] += bias

    def input_cotangent(self) -> Tensor:
        """`x̄_t = Wᵀ δ_t`."""
        return self.delta @ self.block.weights.weight_ih


class PushForwardRNN(PushForward):
    """`h_t' = f'(a_t) (U h_{t-1}' + W x_t')`, a prime for a tangent."""

    def __init__(self, block: LinearisedRNN) -> None:
        self.size = self.output_size = block.h.shape[-1]
        self.from_h, self.from_x = block.weights.weight_hh, block.weights.weight_ih
        self.planes = block.slope
        (self.slopes,) = per_step(block.slope)

    def step(
        self, t: int, v: Tensor, out: Tensor, below: Tensor | None = None, own: Tensor | None = None
    ) -> None:
        """Two operations a step, three above another layer."""
        if own is None:
            torch.mm(self.from_h, v, out=out)
        else:
            torch.addmm(own, self.from_h, v, out=out)
        if below is not None:
            out.addmm_(self.from_x, below)
        slope = self.slopes[t]
        by_sample(out, slope).mul_(slope)

    def inverse(self) -> Push | None:
        """`J_t⁻ᵀ = diag(1 / f') U⁻ᵀ`, unless a unit is saturated to the last digit."""
        weight = inverted(self.from_h)
        if weight is None or not bool((self.planes > 0).all()):
            return None
        return InverseRNN(weight, 1 / self.planes)


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
