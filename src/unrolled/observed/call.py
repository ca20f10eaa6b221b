"""A call of a fused module, as systems whose trajectories can be followed.

Pushing tangents forward needs no more of a trajectory than where it is now: a block of steps is run by torch's own
recurrence, layer by layer, linearised in float64, and let go. So memory does not grow with the length, but for a
bidirectional module above its first layer, which reads whole sequences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells import cell_of
from unrolled.cells.linearised import Buffers
from unrolled.cells.push_forward import Layers, PushForward
from unrolled.cells.weights import Weights, used
from unrolled.errors import InvalidValueError
from unrolled.observed.facts import Facts
from unrolled.observed.system import System
from unrolled.observed.trajectory import Block, Trajectory
from unrolled.observed.weights import check_weights
from unrolled.rollout import layer as layer_runs
from unrolled.rollout.fused import DIRECTIONS, arguments_of, draw_mask, drops, module_of, read
from unrolled.rollout.nonfinite import check_states
from unrolled.rollout.targets import Target

FEWEST_STEPS = 64  # of a block, however large the batch: tangents are factorised at its end in any case
# Columns of a matrix product that are worth filling up: 16 take no longer than 10, and often half of that.
MULTIPLE = 8

NO_STACK = (
    "no spectrum of the stack of {name!r}: it is bidirectional, so no single order of time carries all its "
    "layers; each direction of each layer is a system of its own"
)


@dataclass(frozen=True)
class ObservedCall:
    """One call of one fused module: `x` `(T, B, I)` and first states `(L*D, B, ·)`, `(h0,)` or `(h0, c0)`.

    `weights`: what the call worked with. `masks` `(T, B, H)`: of the dropout above each layer but the last.
    """

    target: Target
    number: int
    module: nn.RNNBase
    weights: dict[str, Tensor]
    x: Tensor
    states: tuple[Tensor, ...]
    masks: tuple[Tensor, ...] = ()

    @property
    def name(self) -> str:
        """Of the module."""
        return self.target.name

    @property
    def steps(self) -> int:
        """T."""
        return self.x.shape[0]

    @property
    def batch(self) -> int:
        """B."""
        return self.x.shape[1]

    @property
    def count(self) -> int:
        """The number of trajectories."""
        return 2 * self.module.num_layers if self.module.bidirectional else 1

    @property
    def widest(self) -> int:
        """The size of the largest system."""
        layers = 1 if self.module.bidirectional else self.module.num_layers
        return layers * sum(part.shape[-1] for part in self.states)

    @property
    def notes(self) -> tuple[str, ...]:
        """What has no spectrum, and why."""
        return (NO_STACK.format(name=self.name),) * self.module.bidirectional

    def facts(self) -> Facts:
        """Sizes, under `torch.nn`'s names."""
        module = self.module
        names = ("input_size", "hidden_size", "num_layers", "bidirectional", "proj_size")
        return Facts(
            batch_size=self.batch,
            seq_len=self.steps,
            dtype=str(self.x.dtype).removeprefix("torch."),
            device=str(self.x.device),
            cell=cell_of(module).name,
            **{name: getattr(module, name) for name in names},
        )

    def split(self, numbers: int, at_most: int) -> list[ObservedCall]:
        """The same by groups of samples, so that `numbers` per sample make `at_most` per group."""
        size = max(1, at_most // numbers)
        return [
            replace(
                self,
                x=self.x[:, first : first + size],
                states=tuple(s[:, first : first + size] for s in self.states),
                masks=tuple(mask[:, first : first + size] for mask in self.masks),
            )
            for first in range(0, self.batch, size)
        ]

    def trajectories(self) -> Iterator[Trajectory]:
        """All layers in one go; of a bidirectional module, each layer and direction after the other."""
        layers, size = self.module.num_layers, sum(part.shape[-1] for part in self.states)
        if not self.module.bidirectional:
            ways = [(self.target.layer + layer, self.target.direction) for layer in range(layers)]
            systems = [System(self.name, self.number, layer, way, size) for layer, way in ways]
            if layers > 1:
                systems.append(System(self.name, self.number, None, DIRECTIONS[0], layers * size))
            yield self._trajectory(tuple(systems), range(layers), False, self.x)
            return
        x = self.x
        for layer in range(layers):
            outputs = []
            for reverse in (False, True):
                own = x.flip(0) if reverse else x
                system = System(self.name, self.number, layer, DIRECTIONS[reverse], size)
                yield self._trajectory((system,), range(layer, layer + 1), reverse, own)
                if layer + 1 < layers:
                    weights, cell = Weights.of(self.weights, layer, reverse), cell_of(self.module)
                    h = layer_runs.run(cell, weights, own, *self._row(layer, reverse), None).h[1:]
                    outputs.append(h.flip(0) if reverse else h)
            x = torch.cat(outputs, dim=-1) if outputs else x
            if outputs and self.masks:
                x = x * self.masks[layer]

    def _trajectory(self, systems: tuple[System, ...], layers: range, reverse: bool, x: Tensor) -> Trajectory:
        like = x.new_empty(0, dtype=torch.float64)
        blocks = partial(self._blocks, layers, reverse, x)
        share = cell_of(self.module).inverse_share
        return Trajectory(systems, self.steps, self.batch, like, blocks, MULTIPLE, share)

    def _row(self, layer: int, reverse: bool) -> tuple[Tensor, Tensor | None]:
        row = layer * (2 if self.module.bidirectional else 1) + reverse
        h0, *c0 = (part[row] for part in self.states)
        return h0, c0[0] if c0 else None

    @torch.no_grad()
    def _blocks(self, layers: range, reverse: bool, x: Tensor, first: int) -> Iterator[Block]:
        cell = cell_of(self.module)
        narrow = [Weights.of(self.weights, layer, reverse) for layer in layers]
        wide = [weights.to(torch.float64) for weights in narrow]
        states = [self._row(layer, reverse) for layer in layers]
        length = max(FEWEST_STEPS, layer_runs.BLOCK_NUMBERS // (self.batch * self.module.hidden_size))
        length = min(length, layer_runs.BLOCK_STEPS)
        for start in range(0, self.steps, length):
            inputs = x[start : start + length]
            masks = [mask[start : start + length] for mask in self.masks[: len(layers) - 1]]
            blocks: list[PushForward] = []
            for number, layer in enumerate(layers):
                h, c = states[number]
                run = layer_runs.run(cell, narrow[number], inputs, h, c, None)
                check_states(run.h[1:], self.name, layer, DIRECTIONS[reverse], start)
                if start + len(inputs) > first:
                    c_first = None if c is None else c.double()
                    h, buffers = run.h.double(), Buffers(len(inputs), run.h.new_empty(0, dtype=torch.float64))
                    block = cell.linearise(wide[number], inputs.double(), h, c_first, buffers)
                    blocks.append(block.push_forward())
                states[number] = (run.h_n, run.c_n)
                inputs = run.h[1:] * masks[number] if number < len(masks) else run.h[1:]
            if blocks:
                stack = [Layers(blocks, [mask.double() for mask in masks])] if len(blocks) > 1 else []
                yield Block(start, len(inputs), (*blocks, *stack))


def call_of(target: Target, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ObservedCall:
    """What a module is called with. Raises where it cannot be run, or its sequences differ in length."""
    sequence, hx = arguments_of(args, kwargs)
    module = module_of(target)
    weights = detached(used(module))
    check_weights(target.name, module, weights)
    layout, sources = read(target, sequence, hx)
    if layout.lengths is not None:
        raise InvalidValueError(
            f"input of {target.name!r}: expected sequences of one length, got lengths {int(layout.lengths.min())} to "
            f"{int(layout.lengths.max())}, which have no common last step; pass those of each length by themselves"
        )
    x, *states = (source.detach() for source in sources)
    masks: list[Tensor] = []
    if drops(module):
        width = (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
        packed = sequence if isinstance(sequence, PackedSequence) else None
        like = x.new_empty(*x.shape[:2], width)
        masks = [draw_mask(like, module.dropout, packed) for _ in range(module.num_layers - 1)]
    return ObservedCall(target, number, module, weights, x, tuple(states), tuple(masks))


def detached(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same, connected to nothing."""
    return {name: weight.detach() for name, weight in weights.items()}
