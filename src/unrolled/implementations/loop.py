"""What every loop over time shares: layers, directions, layouts and states around a `scan` of one layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells import cell_of
from unrolled.cells.cell import State
from unrolled.cells.weights import Weights
from unrolled.errors import ImplementationError, InvalidTypeError, InvalidValueError


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

    def forward(self, input: Tensor, hx: Tensor | State | None = None) -> tuple[Tensor, Tensor | State]:
        """As the reference: `(out, h_n)`, for LSTM `(out, (h_n, c_n))`, batched or not."""
        return run(self.reference, self.scan, input, hx)


def run(
    reference: nn.RNNBase,
    scan: Callable[[int, Tensor, State], tuple[Tensor, State]],
    input: Tensor,
    hx: Tensor | State | None,
) -> tuple[Tensor, Tensor | State]:
    """What `reference` gives for a call, each of its layers and directions run by `scan(k, x, state)`.

    Raises `InvalidTypeError` for a packed sequence and `InvalidValueError` for shapes that the reference does not take.
    """
    if isinstance(input, PackedSequence):
        raise InvalidTypeError("input: expected a tensor, got a PackedSequence; pad it first")
    batched = input.dim() == 3
    x = _time_first(reference, input, batched)
    if not len(x):
        raise InvalidValueError("input: expected at least one step, got none")
    states = _initial_states(reference, x, hx, batched)

    directions = 2 if reference.bidirectional else 1
    finals = []
    for k in range(0, len(states), directions):
        forward, final = scan(k, x, states[k])
        finals.append(final)
        if directions == 2:
            backward, final = scan(k + 1, x.flip(0), states[k + 1])
            finals.append(final)
            x = torch.cat((forward, backward.flip(0)), dim=-1)
        else:
            x = forward

    last = tuple(torch.stack(of_part) for of_part in zip(*finals, strict=True))
    if not batched:
        x, last = x.squeeze(1), tuple(part.squeeze(1) for part in last)
    elif reference.batch_first:
        x = x.transpose(0, 1)
    return x, last if len(last) > 1 else last[0]


def _time_first(reference: nn.RNNBase, input: Tensor, batched: bool) -> Tensor:
    if input.dim() not in (2, 3) or input.shape[-1] != reference.input_size:
        raise InvalidValueError(
            f"input: expected (T, B, {reference.input_size}), or 2-D without a batch, got {tuple(input.shape)}"
        )
    if not batched:
        return input.unsqueeze(1)
    return input.transpose(0, 1) if reference.batch_first else input


def _initial_states(reference: nn.RNNBase, x: Tensor, hx: Tensor | State | None, batched: bool) -> list[State]:
    """One state per layer and direction; zeros when none is given."""
    cell, directions = cell_of(reference), 2 if reference.bidirectional else 1
    parts, shape = len(cell.paths), (reference.num_layers * directions, x.shape[1], reference.hidden_size)
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
    if reference.dropout:
        raise ImplementationError(
            f"dropout: expected 0, got {reference.dropout}; random masks cannot be compared, "
            "put nn.Dropout between one-layer modules"
        )
