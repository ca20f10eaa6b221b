"""`bptt`: forward by torch, backward through time by linearised blocks of steps, for training on a CPU.

Autograd keeps a graph of some operations for every step and walks it back one by one. Here a layer keeps its
input and its output; the backward pass works out the factors of a whole block of steps in one matrix product, carries
the cotangent back by two to five small operations a step, and adds a block's weight gradients in one product for each
weight (Werbos 1990; the last is §3.2 of Appleyard, Kociský, Blunsom 2016). The gradients are exact, as autograd's are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells import cell_of
from unrolled.cells.cell import Cell, State
from unrolled.cells.linearised import Buffers, PullBack
from unrolled.cells.weights import NAMES, Weights
from unrolled.errors import ImplementationError
from unrolled.implementations.loop import Loop
from unrolled.rollout.layer import block_of, forward
from unrolled.rollout.scaled import working_dtype

FEWEST_BLOCKS = 3
LEAST_NUMBERS = 2**15  # of a buffer, T * B * H
MOST_RESTING = 4  # sizes of layers whose buffers are kept between calls
_resting: dict[tuple[Any, ...], Buffers] = {}


class Recurrence(torch.autograd.Function):
    """One layer in one direction: from `x` `(T, B, I)`, a first state and weights to outputs and the last state."""

    @staticmethod
    def forward(ctx: Any, cell: Cell, x: Tensor, *rest: Tensor | None) -> tuple[Tensor, ...]:
        """`rest`: each part of the state, `(B, H)`, then the weights by `NAMES`."""
        h0, c0, weights = _split(cell, rest)
        block = _steps_of_a_block(x, h0, c0)
        outputs, h_n, c_n, c_starts = forward(cell, weights, x, h0, c0, block)
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        ctx.cell, ctx.block, ctx.c_starts = cell, block, c_starts
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, output, *rest)
        return (output, h_n) if c_n is None else (output, h_n, c_n)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Of the input, the first state and the weights, block by block from the last to the first.

        Raises `ImplementationError` where a graph of the gradients is asked for.
        """
        if torch.is_grad_enabled():
            raise ImplementationError(
                "bptt: expected a backward pass without create_graph=True, since its gradients have no gradients; "
                "take the fused module where a gradient is differentiated again"
            )
        x, output, *rest = ctx.saved_tensors
        h0, _, weights = _split(ctx.cell, rest)
        needs_x, *needs_rest = ctx.needs_input_grad[1:]
        needs_weights = any(needs_rest[len(ctx.cell.paths) :])

        of_output, *carried = cotangents
        dtype = working_dtype(output.dtype)
        sums = {name: torch.zeros_like(w, dtype=dtype) for name, w in weights.named().items()}
        x_bar = torch.empty_like(x) if needs_x else None
        with _buffers(ctx.cell, x, output, ctx.block) as buffers:
            for first, block in _backwards(ctx, weights.to(dtype), x, h0, output, buffers):
                steps = len(block.delta)
                _arrive(block, None if of_output is None else of_output[first : first + steps], carried)
                block.pull(0, steps)
                if needs_weights:
                    block.add_gradients(None, sums)
                if x_bar is not None:
                    x_bar[first : first + steps] = block.input_cotangent()
                carried = [buffer[0].clone() for buffer in block.cotangents]
        given = weights.named()
        of_weights = [sums[name].to(given[name].dtype) if name in given else None for name in NAMES]
        return None, x_bar, *(part if part is None else part.to(output.dtype) for part in carried), *of_weights


def _split(cell: Cell, rest: Sequence[Tensor | None]) -> tuple[Tensor, Tensor | None, Weights]:
    """The first hidden state, the first cell state if there is one, and the weights."""
    parts = len(cell.paths)
    h0, c0 = rest[0], rest[1] if parts > 1 else None
    return h0, c0, Weights(*rest[parts:])  # type: ignore[arg-type, return-value]


def _steps_of_a_block(x: Tensor, h0: Tensor, c0: Tensor | None) -> int:
    """As few that the buffers of a block are small beside what autograd keeps, as many that they are worth a product.

    An LSTM has more of them, but autograd keeps more too, and each stop costs a call of the fused module.
    """
    if c0 is not None:
        return block_of(x, c0)
    return min(block_of(x, h0), max(math.ceil(len(x) / FEWEST_BLOCKS), LEAST_NUMBERS // max(1, h0.numel())))


def _backwards(
    ctx: Any, weights: Weights, x: Tensor, h0: Tensor, output: Tensor, buffers: Buffers
) -> Iterator[tuple[int, PullBack]]:
    """The blocks of steps from the last to the first, each with the number of its first step."""
    dtype = buffers.like.dtype
    for first in reversed(range(0, len(x), ctx.block)):
        part = output[first : first + ctx.block]
        h = buffers("h", len(part) + 1, *h0.shape)
        h[0] = output[first - 1] if first else h0
        h[1:] = part
        c = ctx.c_starts[first // ctx.block].to(dtype) if ctx.c_starts else None
        inputs = x[first : first + ctx.block].to(dtype)
        yield first, ctx.cell.linearise(weights, inputs, h, c, buffers).pull_back()


def _arrive(block: PullBack, of_output: Tensor | None, carried: Sequence[Tensor | None]) -> None:
    """Write what comes from outputs `(T, B, H)` and from the next block into the slots of a block."""
    h, *others = block.cotangents
    for buffer in others if of_output is not None else block.cotangents:
        buffer.zero_()
    if of_output is not None:
        h[0] = 0
        h[1:] = of_output
    for buffer, last in zip(block.cotangents, carried, strict=True):
        if last is not None:
            buffer[-1] += last


@contextmanager
def _buffers(cell: Cell, x: Tensor, output: Tensor, block: int) -> Iterator[Buffers]:
    """Memory for blocks: that of the last call of these sizes, where no other backward pass has it."""
    like = output.new_empty(0, dtype=working_dtype(output.dtype))
    key = (cell, block, x.shape[1:], output.shape[1:], like.dtype, like.device)
    buffers = _resting.pop(key, None) or Buffers(block, like)
    yield buffers
    _resting[key] = buffers  # not where an error left them half written
    while len(_resting) > MOST_RESTING:
        _resting.pop(next(iter(_resting)), None)


def forget() -> None:
    """Give back the memory that is kept between calls."""
    _resting.clear()


def scan(layer: Weights, cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
    """One layer and direction over `x` `(T, B, I)`, as one node of autograd's graph."""
    apply: Any = Recurrence.apply
    output, *last = apply(cell, x.contiguous(), *state, *layer.all())
    return output, tuple(last)


class Bptt(Loop):
    """A loop that autograd sees layer by layer, not step by step."""

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Recurrence`."""
        return scan(self.layers[k], cell_of(self.reference), x, state)


def build(reference: nn.RNNBase) -> nn.Module:
    """Torch's forward with a backward pass of blocks, and the parameters of `reference`."""
    return Bptt(reference)
