"""`inference`: a forward pass without gradients on a CPU, in as few operations as there are, all of them in place.

The input projection of all steps is one product, whose result is the memory that each step then works in: the recurrent
product is added to it, activations replace it, and what is left of it in the end is the output. Nothing is allocated in
the loop, and no operation copies.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells import cell_of
from unrolled.cells.cell import Cell, State
from unrolled.cells.weights import Weights
from unrolled.errors import ImplementationError
from unrolled.implementations.loop import Loop


def rnn(layer: Weights, x: Tensor, state: State, relu: bool) -> tuple[Tensor, State]:
    """Two operations a step."""
    (h,) = state
    weight, output = _turned(layer), F.linear(x, layer.weight_ih, layer.bias)
    for h_t in output.unbind(0):
        h_t.addmm_(h, weight)
        h = h_t.relu_() if relu else h_t.tanh_()
    return output, (h,)


def gru(layer: Weights, x: Tensor, state: State) -> tuple[Tensor, State]:
    """Six operations a step: `q` is what comes from the state, of which r scales the last part."""
    (h,) = state
    size = h.shape[-1]
    both, new = _rows(layer, slice(None, 2 * size)), _rows(layer, slice(2 * size, None))
    gates = F.linear(x, both.weight_ih, both.bias)
    output = F.linear(x, new.weight_ih, new.bias_ih)
    weight, q = _turned(layer), x.new_empty(x.shape[1], 3 * size)
    bias = q.new_zeros(3 * size)
    if new.bias_hh is not None:
        bias[2 * size :] = new.bias_hh
    q_gates, q_new = q[:, : 2 * size], q[:, 2 * size :]
    r, z = (part.unbind(0) for part in torch.split(gates, size, dim=-1))
    for gates_t, r_t, z_t, h_t in zip(gates.unbind(0), r, z, output.unbind(0), strict=True):
        torch.addmm(bias, h, weight, out=q)
        gates_t.add_(q_gates).sigmoid_()
        h = h_t.addcmul_(r_t, q_new).tanh_().lerp_(h, z_t)
    return output, (h,)


def lstm(layer: Weights, x: Tensor, state: State) -> tuple[Tensor, State]:
    """Seven operations a step: with the rows in the order i, f, o, g, one activation serves three gates."""
    h, c = state[0], state[1].clone()
    size = h.shape[-1]
    i, f, g, o = (slice(k * size, (k + 1) * size) for k in range(4))
    rows = torch.cat([torch.arange(part.start, part.stop, device=x.device) for part in (i, f, o, g)])
    ordered = _rows(layer, rows)
    gates, weight = F.linear(x, ordered.weight_ih, ordered.bias), _turned(ordered)
    output = x.new_empty(*x.shape[:2], size)
    parts = (
        part.unbind(0) for part in (gates, gates[..., : 3 * size], *torch.split(gates, size, dim=-1), output)
    )
    for gates_t, sigmoids, i_t, f_t, o_t, g_t, h_t in zip(*parts, strict=True):
        gates_t.addmm_(h, weight)
        sigmoids.sigmoid_()
        g_t.tanh_()
        c.mul_(f_t).addcmul_(i_t, g_t)
        h = torch.tanh(c, out=h_t).mul_(o_t)
    return output, (h, c)


def _turned(layer: Weights) -> Tensor:
    """`U` transposed, laid out as it is read: a product with it takes three quarters of the time, and so it pays."""
    return layer.weight_hh.t().contiguous()


def _rows(layer: Weights, which: Any) -> Weights:
    """Some rows of all weights."""
    return Weights(*(None if weight is None else weight[which] for weight in layer.all()))  # type: ignore[arg-type]


def scan(layer: Weights, cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
    """One layer and direction over `x` `(T, B, I)`."""
    if cell.name == "gru":
        return gru(layer, x, state)
    if cell.name == "lstm":
        return lstm(layer, x, state)
    return rnn(layer, x, state, relu=cell.name == "rnn_relu")


class Inference(Loop):
    """A loop that nothing can be learnt through."""

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> Any:
        """As the reference. Raises `ImplementationError` where gradients would be wanted."""
        numbers = input.data if isinstance(input, PackedSequence) else input
        given = [numbers, *self.parameters()]
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
            raise ImplementationError(
                "inference: expected no gradients to be wanted, got a call that autograd records; call it inside "
                "torch.no_grad() or torch.inference_mode(), or take bptt"
            )
        return super().forward(input, hx)

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See `rnn`, `gru` and `lstm`."""
        return scan(self.layers[k], cell_of(self.reference), x, state)


def build(reference: nn.RNNBase) -> nn.Module:
    """A forward pass in place, with the parameters of `reference`."""
    return Inference(reference)
