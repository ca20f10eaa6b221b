"""One layer and direction of one call: run forward once, kept so that it can be pulled back through.

Only the hidden states are kept, and for an LSTM a cell state every so often; everything else that a step's
Jacobian needs is worked out again, a block of steps at a time. So memory is that of the states.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from unrolled.cells.cell import Cell
from unrolled.cells.linearised import Buffers, PullBack
from unrolled.cells.weights import Weights
from unrolled.rollout.scaled import working_dtype

# Numbers per buffer of a block, T * B * H: large enough that what is done once a block costs nothing, small
# enough for the buffers to stay within a few tens of megabytes.
BLOCK_NUMBERS = 2**19
# And no more steps than this: each has a dozen small views of its own, half a kilobyte of Python each.
BLOCK_STEPS = 4096


@dataclass(frozen=True)
class LayerRun:
    """What is known of one layer and direction: inputs `x` `(T, B, I)` and states `h` `(T + 1, B, P)`.

    Both are in the order in which the direction runs. `c_starts` `[(B, H)]` holds an LSTM's cell state at
    the first step of every block. `lengths` `(B,)` is given where sequences differ in length.
    """

    cell: Cell
    weights: Weights
    x: Tensor
    h: Tensor
    c_starts: list[Tensor]
    block: int
    lengths: Tensor | None
    h_n: Tensor
    c_n: Tensor | None

    @property
    def steps(self) -> int:
        """The number of steps of the longest sequence."""
        return self.x.shape[0]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The width of each path: `(P,)`, or `(P, H)` for an LSTM."""
        return (self.h.shape[-1],) if self.c_n is None else (self.h.shape[-1], self.c_n.shape[-1])

    def pull_backs(self) -> Iterator[tuple[int, PullBack]]:
        """The pull-backs through blocks, from the last block to the first, each with the number of its first step.

        A block lives until the next one is asked for: all share their memory.
        """
        dtype = working_dtype(self.h.dtype)
        weights = self.weights.to(dtype)
        buffers = Buffers(self.block, self.h.new_empty(0, dtype=dtype))
        for first in reversed(range(0, self.steps, self.block)):
            last = min(first + self.block, self.steps)
            c = self.c_starts[first // self.block].to(dtype) if self.c_starts else None
            x, h = self.x[first:last].to(dtype), self.h[first : last + 1].to(dtype)
            yield first, self.cell.linearise(weights, x, h, c, buffers).pull_back()


@torch.no_grad()
def run(
    cell: Cell,
    weights: Weights,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    lengths: Tensor | None,
) -> LayerRun:
    """Run a layer and direction, by its weights, over `x` `(T, B, I)` in the order in which the direction runs."""
    block = block_of(x, h0 if c0 is None else c0)
    if lengths is not None and c0 is not None:
        block = x.shape[0]  # a packed run cannot be stopped where some sequences are over
    parts, h_n, c_n, c_starts = forward(cell, weights, x, h0, c0, block, lengths)
    h = torch.cat((h0.unsqueeze(0), *parts))
    return LayerRun(cell, weights, x, h, c_starts, block, lengths, h_n, c_n)


def block_of(x: Tensor, state: Tensor) -> int:
    """The steps of a block, for inputs `(T, B, I)` and the widest part of the state `(B, H)`."""
    steps = x.shape[0]
    most = max(1, min(BLOCK_STEPS, BLOCK_NUMBERS // max(1, state.numel())))
    return math.ceil(steps / math.ceil(steps / most))  # blocks of one length share their views


def forward(
    cell: Cell,
    weights: Weights,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    block: int,
    lengths: Tensor | None = None,
) -> tuple[list[Tensor], Tensor, Tensor | None, list[Tensor]]:
    """Outputs `[(T, B, P)]` in parts of some steps each, last states, and the cell state at the start of each block."""
    steps = x.shape[0] if c0 is None else block  # only cell states need stops on the way
    parts, c_starts = [], []
    h, c = h0, c0
    for first in range(0, x.shape[0], steps):
        if c is not None:
            c_starts.append(c)
        output, h, c = _fused(cell.name, x[first : first + steps], h, c, weights, lengths)
        parts.append(output)
    return parts, h, c, c_starts


def _fused(
    name: str, x: Tensor, h: Tensor, c: Tensor | None, weights: Weights, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Output `(T, B, P)` and last states `(B, ·)` of torch's own fused one-layer recurrence."""
    function = getattr(torch, name)  # `torch.rnn_tanh`, `torch.lstm`
    states = [state.unsqueeze(0).contiguous() for state in (h, c) if state is not None]
    # With biases or not; then one layer, no dropout, not training, one direction.
    options = (weights.flat(), weights.bias_ih is not None, 1, 0.0, False, False)
    with warnings.catch_warnings():
        # Notes on speed only: cuDNN wants the weights in one piece, oneDNN leaves projections to torch.
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous")
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
        if lengths is None:
            output, *last = function(x, states if c is not None else states[0], *options, False)
        else:
            packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
            states = [state.index_select(1, _given(packed.sorted_indices)) for state in states]
            data, *last = function(
                packed.data, packed.batch_sizes, states if c is not None else states[0], *options
            )
            padded = PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
            output = pad_packed_sequence(padded, total_length=x.shape[0])[0]
            last = [state.index_select(1, _given(packed.unsorted_indices)) for state in last]
    return output, last[0][0], last[1][0] if len(last) > 1 else None


def _given(indices: Tensor | None) -> Tensor:
    """The order of a sequence that was packed with `enforce_sorted=False`, which always has one."""
    if indices is None:
        raise TypeError("expected a packed sequence that knows its order")
    return indices
