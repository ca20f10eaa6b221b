"""What every loop over time shares: layers, directions, layouts and states around a `scan` of one layer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells import cell_of
from unrolled.cells.cell import State
from unrolled.cells.weights import Weights
from unrolled.errors import ImplementationError, InvalidValueError

# One layer and direction, the k-th: `(k, x, state) -> (outputs, last state)`, see `Loop.scan`.
Scan = Callable[[int, Tensor, State], tuple[Tensor, State]]


class Loop(nn.Module):
    """A recurrent stack with the call of `nn.RNN`, `nn.GRU` or `nn.LSTM` and the parameters of `reference`.

    A member of the family defines `scan`, which runs one layer in one direction over all steps. `cell` is the name of
    the recurrence, such as `lstm`; `layers` the parameters of every layer and direction.
    """

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__()
        check(reference)
        kind = cell_of(reference)
        self.cell, self.parts = kind.name, len(kind.paths)
        self.reference = reference  # registered, so that the parameters are the reference's own
        self.layers = Weights.each(reference)

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run layer-and-direction `k` over `x` `(T, B, I)`; gives its outputs `(T, B, H)` and last state.

        The state is `(h,)`, or `(h, c)` for an LSTM, each `(B, H)`.
        """
        raise NotImplementedError

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | State | None = None
    ) -> tuple[Any, Tensor | State]:
        """As the reference: `(out, h_n)`, for LSTM `(out, (h_n, c_n))`, batched or not, or packed."""
        return run(self.reference, self.scan, input, hx)


def run(
    reference: nn.RNNBase,
    scan: Scan,
    input: Tensor | PackedSequence,
    hx: Tensor | State | None,
) -> tuple[Any, Tensor | State]:
    """What `reference` gives for a call, each of its layers and directions run by `scan(k, x, state)`.

    Between layers it drops out as torch does on a CPU: the same numbers for the same random state. Of packed sequences,
    the steps in which as many go on are run together. Raises `InvalidValueError` for shapes that the reference does not
    take.
    """
    if isinstance(input, PackedSequence):
        return _run_packed(reference, scan, input, hx)
    batched = input.dim() == 3
    x = _time_first(reference, input, batched)
    if not len(x):
        raise InvalidValueError("input: expected at least one step, got none")
    states = _initial_states(reference, x.shape[1], x, hx, batched)
    x, last = _stacked(reference, _Steps(scan), x, states)
    if not batched:
        x, last = x.squeeze(1), tuple(part.squeeze(1) for part in last)
    elif reference.batch_first:
        x = x.transpose(0, 1)
    return x, last if len(last) > 1 else last[0]


def _run_packed(
    reference: nn.RNNBase, scan: Scan, input: PackedSequence, hx: Tensor | State | None
) -> tuple[PackedSequence, Tensor | State]:
    """The same of packed sequences."""
    data, sizes, order, back = input
    if data.shape[-1] != reference.input_size:
        raise InvalidValueError(
            f"input: expected {reference.input_size} numbers a step, got {data.shape[-1]}; see input_size"
        )
    states = _initial_states(reference, int(sizes[0]), data, hx, batched=True)
    if order is not None:
        states = [tuple(part[order] for part in state) for state in states]
    data, last = _stacked(reference, _PackedSteps(scan, sizes), data, states)
    if back is not None:
        last = tuple(part[:, back] for part in last)
    return PackedSequence(data, sizes, order, back), last if len(last) > 1 else last[0]


def _stacked(reference: nn.RNNBase, steps: _Steps, x: Tensor, states: list[State]) -> tuple[Tensor, State]:
    """All layers and directions over `x`: the outputs of the last layer, and the last states of all."""
    directions = 2 if reference.bidirectional else 1
    finals = []
    for k in range(0, len(states), directions):
        if k and reference.dropout and reference.training:
            x = F.dropout(x, reference.dropout)
        outputs, final = steps.forward(k, x, states[k])
        finals.append(final)
        if directions == 2:
            backward, final = steps.backward(k + 1, x, states[k + 1])
            finals.append(final)
            outputs = torch.cat((outputs, backward), dim=-1)
        x = outputs
    return x, tuple(torch.stack(of_part) for of_part in zip(*finals, strict=True))


class _Steps:
    """One layer over `x` `(T, B, I)`, from the first step on or from the last: outputs in the order of `x`."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan

    def forward(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """From the first step on."""
        return self.scan(k, x, state)

    def backward(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """From the last step on."""
        outputs, state = self.scan(k, x.flip(0), state)
        return outputs.flip(0), state


class _PackedSteps(_Steps):
    """The same over packed data `(tokens, I)`, step after step with the longest sequence first.

    The steps in which as many sequences go on are run together.
    """

    def __init__(self, scan: Scan, sizes: Tensor) -> None:
        super().__init__(scan)
        self.runs = [(len(list(steps)), size) for size, steps in groupby(sizes.tolist())]

    def _parts(self, x: Tensor) -> list[Tensor]:
        parts = torch.split(x, [steps * size for steps, size in self.runs])
        return [part.view(*run, -1) for part, run in zip(parts, self.runs, strict=True)]

    def forward(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """From run to run fewer sequences go on; the last states are those that each ended with."""
        outputs, ended = [], list[State]()
        for part in self._parts(x):
            size = part.shape[1]
            ended.append(tuple(each[size:] for each in state))
            output, state = super().forward(k, part, tuple(each[:size] for each in state))
            outputs.append(output.flatten(0, 1))
        parts = zip(state, *reversed(ended), strict=True)
        return torch.cat(outputs), tuple(torch.cat(each) for each in parts)

    def backward(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """From run to run, the last one first, further sequences begin, from their first states."""
        outputs, carried = list[Tensor](), tuple(each[:0] for each in state)
        for part in reversed(self._parts(x)):
            begin = (
                torch.cat((old, first[len(old) : part.shape[1]]))
                for old, first in zip(carried, state, strict=True)
            )
            output, carried = super().backward(k, part, tuple(begin))
            outputs.append(output.flatten(0, 1))
        return torch.cat(outputs[::-1]), carried


def _time_first(reference: nn.RNNBase, input: Tensor, batched: bool) -> Tensor:
    if input.dim() not in (2, 3) or input.shape[-1] != reference.input_size:
        raise InvalidValueError(
            f"input: expected (T, B, {reference.input_size}), or 2-D without a batch, got {tuple(input.shape)}"
        )
    if not batched:
        return input.unsqueeze(1)
    return input.transpose(0, 1) if reference.batch_first else input


def _initial_states(
    reference: nn.RNNBase, batch_size: int, x: Tensor, hx: Tensor | State | None, batched: bool
) -> list[State]:
    """One state per layer and direction; zeros when none is given."""
    cell, directions = cell_of(reference), 2 if reference.bidirectional else 1
    parts, shape = len(cell.paths), (reference.num_layers * directions, batch_size, reference.hidden_size)
    if hx is None:
        given: State = (x.new_zeros(shape),) * parts
    else:
        given = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        if not batched:
            given = tuple(part.unsqueeze(1) for part in given)
    if len(given) != parts or any(part.shape != shape for part in given):
        raise InvalidValueError(
            f"hx: expected {parts} x {shape} for {cell.name}, got {[tuple(part.shape) for part in given]}"
        )
    return list(zip(*(part.unbind(0) for part in given), strict=True))


def check(reference: nn.Module) -> None:
    """Raise `ImplementationError` for what is no fused module, and for what a plain loop cannot reproduce."""
    if not isinstance(reference, nn.RNN | nn.GRU | nn.LSTM):
        raise ImplementationError(
            f"reference: expected nn.RNN, nn.GRU or nn.LSTM, got {type(reference).__name__}"
        )
    if reference.proj_size:
        raise ImplementationError(f"proj_size: expected 0, got {reference.proj_size}; no loop here projects")
