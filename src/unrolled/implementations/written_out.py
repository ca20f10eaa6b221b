"""What torch's own loop does, operation by operation, called from Python: the rungs between `cells` and `fused`.

Each of these changes one thing of another, so that the ratio of their times is what that thing costs (`unrolled why`):

    cells           one call of torch's cell a step, which calls the operations below from C++
    written_out     the same operations, each called from Python
    gate_by_gate    of `written_out`: a product for each gate, in place of one for all
    projected       of `written_out`: the input projection of all steps in one product
    folded          of `projected`: both biases added at once, before the loop
    in_cpp          of `projected`: the loop in C++, which is what torch runs where it has no kernel for a whole layer
    recorded        of `cells`: without gradients being wanted, autograd records every operation all the same

The operations are those of `RNN.cpp` in ATen, in their order, so that `projected` and `in_cpp` differ by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map

from unrolled.cells.cell import State
from unrolled.cells.weights import Weights
from unrolled.errors import ImplementationError
from unrolled.implementations.cells import Cells
from unrolled.implementations.loop import Loop, check

# (from the input, from the state, state) -> the next state. What comes from the input is left as it is.
Step = Callable[[Tensor, Tensor, State], State]


def rnn(a: Tensor, b: Tensor, state: State, nonlinearity: Callable[[Tensor], Tensor]) -> State:
    """`h_t = f(a + b)` with `a = W x_t + b_ih` and `b = U h_{t-1} + b_hh`."""
    return (nonlinearity(b.add_(a)),)


def gru(a: Tensor, b: Tensor, state: State) -> State:
    """See `_gru`; rows in the order r, z, n."""
    return _gru(torch.unsafe_chunk(a, 3, -1), torch.unsafe_chunk(b, 3, -1), state)


def lstm(a: Tensor, b: Tensor, state: State) -> State:
    """See `_lstm`; rows in the order i, f, g, o."""
    return _lstm(torch.unsafe_chunk(b.add_(a), 4, -1), state)


def _gru(a: Sequence[Tensor], b: Sequence[Tensor], state: State) -> State:
    """`n_t = tanh(a_n + r * b_n)`, `h_t = n_t + z * (h_{t-1} - n_t)`."""
    (h,) = state
    r, z = b[0].add_(a[0]).sigmoid_(), b[1].add_(a[1]).sigmoid_()
    n = a[2].add(b[2].mul_(r)).tanh_()
    return ((h - n).mul_(z).add_(n),)


def _lstm(gates: Sequence[Tensor], state: State) -> State:
    """`c_t = f * c_{t-1} + i * g`, `h_t = o * tanh(c_t)`."""
    i, f, g, o = gates
    c = (f.sigmoid_() * state[1]).add_(i.sigmoid_() * g.tanh_())
    return o.sigmoid_() * c.tanh(), c


STEPS: dict[str, Step] = {
    "rnn_tanh": partial(rnn, nonlinearity=torch.tanh),
    "rnn_relu": partial(rnn, nonlinearity=torch.relu),
    "gru": gru,
    "lstm": lstm,
}


class WrittenOut(Loop):
    """The operations of torch's cells; `step` is called once a step."""

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__(reference)
        self.step = STEPS[self.cell]

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Over `x` `(T, B, I)`, step by step."""
        layer, outputs = self.layers[k], []
        for a in self.from_input(layer, x):
            state = self.step(a, layer.from_h(state[0]), state)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def from_input(self, layer: Weights, x: Tensor) -> Iterable[Tensor]:
        """`W x_t + b_ih`, `(B, G * H)`, a step at a time."""
        return map(layer.from_x, x.unbind(0))


class Projected(WrittenOut):
    """The input projection of all steps in one product."""

    def from_input(self, layer: Weights, x: Tensor) -> Iterable[Tensor]:
        """The same, of all steps at once."""
        return layer.from_x(x).unbind(0)


class Folded(Projected):
    """`b_hh` added with `b_ih` before the loop, in which the product is added to what comes from the input."""

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__(reference)
        if self.cell == "gru":
            raise ImplementationError(
                "folded: expected no GRU, got one, whose reset gate scales b_hh; take projected"
            )

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Over `x` `(T, B, I)`, step by step."""
        layer, outputs = self.layers[k], []
        weight = layer.weight_hh.t()
        for a in F.linear(x, layer.weight_ih, layer.bias).unbind(0):
            state = self.finish(torch.addmm(a, state[0], weight), state)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def finish(self, gates: Tensor, state: State) -> State:
        """The state after a step, of all that its gates add up, `(B, G * H)`."""
        if self.cell == "lstm":
            return _lstm(torch.unsafe_chunk(gates, 4, -1), state)
        return (torch.tanh(gates) if self.cell == "rnn_tanh" else torch.relu(gates),)


class GateByGate(WrittenOut):
    """A product for each gate, as many first write it."""

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__(reference)
        if self.cell not in ("gru", "lstm"):
            raise ImplementationError(
                f"gate_by_gate: expected several gates, got {self.cell}; take written_out"
            )

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Over `x` `(T, B, I)`, step by step."""
        gates, outputs = _by_gate(self.layers[k], 3 if self.cell == "gru" else 4), []
        for x_t in x.unbind(0):
            a, b = [gate.from_x(x_t) for gate in gates], [gate.from_h(state[0]) for gate in gates]
            if self.cell == "gru":
                state = _gru(a, b, state)
            else:
                state = _lstm([theirs.add_(mine) for mine, theirs in zip(a, b, strict=True)], state)
            outputs.append(state[0])
        return torch.stack(outputs), state


def _by_gate(layer: Weights, gates: int) -> list[Weights]:
    """The weights of each gate by themselves."""
    parts: list[Any] = [[None] * gates if w is None else w.chunk(gates) for w in layer.all()]
    return [Weights(*each) for each in zip(*parts, strict=True)]


@contextmanager
def without_onednn() -> Iterator[None]:
    """Torch calls no kernel of oneDNN inside."""
    onednn: Any = torch.backends.mkldnn
    before, onednn.enabled = onednn.enabled, False
    try:
        yield
    finally:
        onednn.enabled = before


class InCpp(nn.Module):
    """The reference without the kernels of oneDNN: what torch does on a CPU where they do not take a call."""

    def __init__(self, reference: nn.Module) -> None:
        super().__init__()
        self.reference = reference

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """As the reference."""
        with without_onednn():
            return self.reference(input, hx)


def _recordable(part: Any) -> Any:
    """Autograd refuses what was made in inference mode, but takes a copy."""
    return part.clone() if isinstance(part, Tensor) and part.is_inference() else part


class Recorded(Cells):
    """A loop of cells outside of `torch.no_grad` and `torch.inference_mode`, wherever it is called."""

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> Any:
        """As the reference, with a graph."""
        with torch.inference_mode(False), torch.enable_grad():
            return super().forward(*tree_map(_recordable, (input, hx)))


def written_out(reference: nn.RNNBase) -> nn.Module:
    """Every operation called from Python."""
    return WrittenOut(reference)


def gate_by_gate(reference: nn.RNNBase) -> nn.Module:
    """The same, with a product for each gate."""
    return GateByGate(reference)


def projected(reference: nn.RNNBase) -> nn.Module:
    """Every operation called from Python, the input projection before the loop."""
    return Projected(reference)


def folded(reference: nn.RNNBase) -> nn.Module:
    """The same with one bias."""
    return Folded(reference)


def in_cpp(reference: nn.RNNBase) -> nn.Module:
    """Torch's loop over operations."""
    check(reference)
    return InCpp(reference)


def recorded(reference: nn.RNNBase) -> nn.Module:
    """A loop of cells that autograd records."""
    return Recorded(reference)
