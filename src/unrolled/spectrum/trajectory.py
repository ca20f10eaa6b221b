"""The calls of recurrent modules in one forward pass, run again segment by segment, linearised on the way.

Pushing tangents forward needs no more of a trajectory than where it is now: a segment of steps is run by
torch's fused recurrence, layer by layer, linearised in float64, and let go. So memory does not grow with
the length, but for a bidirectional module above its first layer, which reads whole sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells.linearisations import PUSHED, Layers, PushForward, Steps, Weights
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.rollout import layer as track
from unrolled.rollout.capture import DIRECTIONS, initial_states, recurrent_modules
from unrolled.rollout.layout import Layout
from unrolled.rollout.nonfinite import check_states
from unrolled.spectrum.checks import check_weights
from unrolled.spectrum.system import System

FEWEST_STEPS = 64  # of a segment, however large the batch: a frame is factorised at its end in any case
# Columns of a matrix product that are worth filling up: 16 take no longer than 10, and often half of that.
MULTIPLE = 8

NO_STACK = (
    "no spectrum of the stack of {name!r}: it is bidirectional, so no single order of time carries all its "
    "layers; each direction of each layer is a system of its own"
)


@dataclass(frozen=True)
class Segment:
    """Steps `start` to `start + steps` of a leg; per system, its linearised steps, numbered from 0."""

    start: int
    steps: int
    pushes: tuple[Steps, ...]


@dataclass(frozen=True)
class Leg:
    """Systems that are run through together, over `steps` steps of `batch` samples.

    `segments(first)` runs the sequence from its start and yields the segments from the one on that holds
    step `first`. `like` has the dtype and device of tangents, whose number is best a `multiple` of some.
    `lower` is the share of a whole spectrum that is best followed by inverse steps.
    """

    systems: tuple[System, ...]
    steps: int
    batch: int
    like: Tensor
    segments: Callable[[int], Iterator[Segment]]
    multiple: int = 1
    lower: float = 0.0


@dataclass(frozen=True)
class Course:
    """One call of one module: `x` `(T, B, I)` and first states `(L*D, B, ·)`, `(h0,)` or `(h0, c0)`."""

    name: str
    module: nn.RNNBase
    call: int
    x: Tensor
    states: tuple[Tensor, ...]

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
        """The number of legs."""
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

    def facts(self) -> dict[str, Any]:
        """Sizes, under `torch.nn`'s names."""
        module = self.module
        names = ("input_size", "hidden_size", "num_layers", "bidirectional", "proj_size")
        return {
            "cell": module.mode.lower(),
            **{name: getattr(module, name) for name in names},
            "batch_size": self.batch,
            "seq_len": self.steps,
            "dtype": str(self.x.dtype).removeprefix("torch."),
            "device": str(self.x.device),
        }

    def split(self, numbers: int, at_most: int) -> list[Course]:
        """The same by groups of samples, so that `numbers` per sample make `at_most` per group."""
        size = max(1, at_most // numbers)
        return [
            replace(
                self,
                x=self.x[:, first : first + size],
                states=tuple(s[:, first : first + size] for s in self.states),
            )
            for first in range(0, self.batch, size)
        ]

    def legs(self) -> Iterator[Leg]:
        """All layers in one go; of a bidirectional module, each layer and direction after the other."""
        layers, size = self.module.num_layers, sum(part.shape[-1] for part in self.states)
        if not self.module.bidirectional:
            systems = [System(self.name, self.call, layer, DIRECTIONS[0], size) for layer in range(layers)]
            if layers > 1:
                systems.append(System(self.name, self.call, None, DIRECTIONS[0], layers * size))
            yield self._leg(tuple(systems), range(layers), False, self.x)
            return
        x = self.x
        for layer in range(layers):
            outputs = []
            for reverse in (False, True):
                own = x.flip(0) if reverse else x
                system = System(self.name, self.call, layer, DIRECTIONS[reverse], size)
                yield self._leg((system,), range(layer, layer + 1), reverse, own)
                if layer + 1 < layers:
                    h = track.run(self.module, layer, reverse, own, *self._row(layer, reverse), None).h[1:]
                    outputs.append(h.flip(0) if reverse else h)
            x = torch.cat(outputs, dim=-1) if outputs else x

    def _leg(self, systems: tuple[System, ...], layers: range, reverse: bool, x: Tensor) -> Leg:
        like = x.new_empty(0, dtype=torch.float64)
        segments = partial(self._segments, layers, reverse, x)
        lower = PUSHED[self.module.mode].lower
        return Leg(systems, self.steps, self.batch, like, segments, MULTIPLE, lower)

    def _row(self, layer: int, reverse: bool) -> tuple[Tensor, Tensor | None]:
        row = layer * (2 if self.module.bidirectional else 1) + reverse
        h0, *c0 = (part[row] for part in self.states)
        return h0, c0[0] if c0 else None

    @torch.no_grad()
    def _segments(self, layers: range, reverse: bool, x: Tensor, first: int) -> Iterator[Segment]:
        kind = PUSHED[self.module.mode]
        weights = [Weights.of(self.module, layer, reverse).to(torch.float64) for layer in layers]
        states = [self._row(layer, reverse) for layer in layers]
        length = max(FEWEST_STEPS, track.BLOCK_NUMBERS // (self.batch * self.module.hidden_size))
        length = min(length, track.BLOCK_STEPS)
        for start in range(0, self.steps, length):
            inputs = x[start : start + length]
            blocks: list[PushForward] = []
            for number, layer in enumerate(layers):
                h, c = states[number]
                one = track.run(self.module, layer, reverse, inputs, h, c, None)
                check_states(one.h[1:], self.name, layer, DIRECTIONS[reverse], start)
                if start + len(inputs) > first:
                    wide = None if c is None else c.double()
                    blocks.append(kind(weights[number], inputs.double(), one.h.double(), wide))
                states[number] = (one.h_n, one.c_n)
                inputs = one.h[1:]
            if blocks:
                stack = [Layers(blocks)] if len(blocks) > 1 else []
                yield Segment(start, len(inputs), (*blocks, *stack))


@torch.no_grad()
def courses(model: nn.Module, inputs: Any, state: Any) -> list[Course]:
    """The calls that a forward pass of `model` makes. Raises for what cannot be run."""
    modules = recurrent_modules(model)
    for name, module in modules.items():
        check_weights(name, module)
    is_tuple = isinstance(inputs, tuple) and not isinstance(inputs, PackedSequence)
    arguments = (*(inputs if is_tuple else (inputs,)), *(() if state is None else (state,)))
    if isinstance(model, nn.RNNBase):  # no need to run it, nor to hold its output
        if not 1 <= len(arguments) <= 2:
            raise InvalidTypeError(
                f"inputs: expected a sequence, or a sequence and a state, got {len(arguments)} arguments "
                "with the state; see lyapunov_spectrum"
            )
        return [_course(next(iter(modules)), model, 0, *arguments)]
    found: list[Course] = []

    def capture(name: str, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        call = sum(course.module is module for course in found)
        arguments = (named.get("input", *given[:1]), named.get("hx", *given[1:2]))
        found.append(_course(name, modules[name], call, *arguments))

    hooks = [
        module.register_forward_pre_hook(partial(capture, name), with_kwargs=True)
        for name, module in modules.items()
    ]
    try:
        model(*arguments)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise InvalidValueError(
            "model: expected a forward that calls its recurrent module, got none that did; pass the module "
            "itself"
        )
    return found


def _course(name: str, module: nn.RNNBase, call: int, input: Any, hx: Any = None) -> Course:
    layout = Layout.of(module, name, input)
    if layout.lengths is not None:
        raise InvalidValueError(
            f"input of {name!r}: expected sequences of one length, got lengths {int(layout.lengths.min())} to "
            f"{int(layout.lengths.max())}, which have no common last step; pass those of each length "
            "by themselves"
        )
    states = initial_states(module, name, layout, input, hx)
    x = layout.inward(input).detach()
    return Course(name, module, call, x, tuple(state.detach() for state in states))
