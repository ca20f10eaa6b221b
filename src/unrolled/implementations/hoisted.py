"""`hoisted`: the input projection of all steps in one matrix product, only the recurrent product in the loop.

`W_ih x_t + b` does not depend on the state, so it need not wait for it: one `(T * B, I) @ (I, G * H)`
product replaces T small ones (Appleyard, Kociský, Blunsom 2016, §3.1). The loops below take that
projection, `(T, B, G * H)`, and are otherwise the equations of the `torch.nn` documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unrolled.cells.cell import State
from unrolled.implementations.loop import Loop

# (projected inputs, initial state, weight_hh, bias_hh or None) -> (outputs, last state)
Recurrence = Callable[[Tensor, State, Tensor, Tensor | None], tuple[Tensor, State]]


def rnn(
    projected: Tensor,
    state: State,
    weight: Tensor,
    bias: Tensor | None,
    nonlinearity: Callable[[Tensor], Tensor],
) -> tuple[Tensor, State]:
    """`h_t = f(p_t + W h_{t-1})` with f the hyperbolic tangent or ReLU."""
    (h,) = state
    outputs = []
    for p_t in projected:
        h = nonlinearity(torch.addmm(p_t, h, weight.t()))
        outputs.append(h)
    return torch.stack(outputs), (h,)


def gru(projected: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, State]:
    """`n_t = tanh(p_n + r_t * (W_n h_{t-1} + b_n))`, `h_t = n_t + z_t * (h_{t-1} - n_t)`."""
    (h,) = state
    hidden_size = h.shape[-1]
    sizes = [2 * hidden_size, hidden_size]
    outputs = []
    for p_t in projected:
        p_rz, p_n = torch.split(p_t, sizes, dim=-1)
        q_rz, q_n = torch.split(F.linear(h, weight, bias), sizes, dim=-1)
        r, z = torch.sigmoid(p_rz + q_rz).chunk(2, dim=-1)
        n = torch.tanh(torch.addcmul(p_n, r, q_n))
        h = torch.lerp(n, h, z)
        outputs.append(h)
    return torch.stack(outputs), (h,)


def lstm(projected: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, State]:
    """`c_t = f_t * c_{t-1} + i_t * g_t`, `h_t = o_t * tanh(c_t)`; gates in the order i, f, g, o."""
    h, c = state
    outputs = []
    for p_t in projected:
        i, f, g, o = torch.addmm(p_t, h, weight.t()).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs), (h, c)


RECURRENCES: dict[str, Recurrence] = {
    "rnn_tanh": partial(rnn, nonlinearity=torch.tanh),
    "rnn_relu": partial(rnn, nonlinearity=torch.relu),
    "gru": gru,
    "lstm": lstm,
}


class Hoisted(Loop):
    """One input product per layer and direction, then a loop of recurrent products."""

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__(reference)
        self.recurrence = RECURRENCES[self.cell]

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Project all of `x` `(T, B, I)` to `(T, B, G * H)`, then run the recurrence over it."""
        layer = self.layers[k]
        bias: Tensor | None = layer.bias_ih
        if layer.bias_hh is not None and bias is not None and self.cell != "gru":
            bias = bias + layer.bias_hh  # in a GRU the reset gate scales b_n, so b_hh stays inside
        projected = F.linear(x, layer.weight_ih, bias)
        return self.recurrence(projected, state, layer.weight_hh, layer.bias_hh)


def build(reference: nn.RNNBase) -> nn.Module:
    """A loop with the input projection hoisted out of it and the parameters of `reference`."""
    return Hoisted(reference)
