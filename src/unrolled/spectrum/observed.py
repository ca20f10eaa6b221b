"""The calls of recurrent modules and cells in one forward pass, as systems whose trajectories can be followed.

Pushing tangents forward needs no more of a trajectory than where it is now: a block of steps of a fused module is
run by torch's own recurrence, layer by layer, linearised in float64, and let go. So memory does not grow with the
length, but for a bidirectional module above its first layer, which reads whole sequences. The states of a cell that
somebody else wrote are kept as they came by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells.build import fused_of
from unrolled.cells.linearisations import PUSHED, Layers, PushForward, Weights
from unrolled.cells.own import output_and_state, parts_of
from unrolled.cells.weights import read as read_weights
from unrolled.cells.weights import used
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.rollout import layer as layer_runs
from unrolled.rollout.arguments import Arguments
from unrolled.rollout.capture import Capture
from unrolled.rollout.fused import DIRECTIONS, arguments_of, draw_mask, drops, module_of, read
from unrolled.rollout.nonfinite import check_states
from unrolled.rollout.runs import Run, given_of, made, name_of_state
from unrolled.rollout.scaled import working_dtype
from unrolled.rollout.targets import STEPPED, Cells, Target, check_called, targets_of
from unrolled.spectrum.checks import check_weights
from unrolled.spectrum.pushed_step import PushedStep
from unrolled.spectrum.system import System
from unrolled.spectrum.trajectory import Block, Trajectory

FEWEST_STEPS = 64  # of a block, however large the batch: tangents are factorised at its end in any case
# Columns of a matrix product that are worth filling up: 16 take no longer than 10, and often half of that.
MULTIPLE = 8

NO_STACK = (
    "no spectrum of the stack of {name!r}: it is bidirectional, so no single order of time carries all its "
    "layers; each direction of each layer is a system of its own"
)


class Observed(Protocol):
    """One call of a module, or one run of calls of a cell."""

    @property
    def name(self) -> str:
        """Of the module."""

    @property
    def steps(self) -> int:
        """T."""

    @property
    def batch(self) -> int:
        """B."""

    @property
    def count(self) -> int:
        """The number of trajectories."""

    @property
    def widest(self) -> int:
        """The size of the largest system."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What has no spectrum, and why."""

    def facts(self) -> dict[str, Any]:
        """Sizes, under `torch.nn`'s names."""

    def split(self, numbers: int, at_most: int) -> list[Any]:
        """The same by groups of samples, so that `numbers` per sample make `at_most` per group."""

    def trajectories(self) -> Iterator[Trajectory]:
        """All that there is to follow."""


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
                    weights = Weights.of(self.weights, layer, reverse)
                    h = layer_runs.run(self.module, weights, own, *self._row(layer, reverse), None).h[1:]
                    outputs.append(h.flip(0) if reverse else h)
            x = torch.cat(outputs, dim=-1) if outputs else x
            if outputs and self.masks:
                x = x * self.masks[layer]

    def _trajectory(self, systems: tuple[System, ...], layers: range, reverse: bool, x: Tensor) -> Trajectory:
        like = x.new_empty(0, dtype=torch.float64)
        blocks = partial(self._blocks, layers, reverse, x)
        lower = PUSHED[self.module.mode].lower
        return Trajectory(systems, self.steps, self.batch, like, blocks, MULTIPLE, lower)

    def _row(self, layer: int, reverse: bool) -> tuple[Tensor, Tensor | None]:
        row = layer * (2 if self.module.bidirectional else 1) + reverse
        h0, *c0 = (part[row] for part in self.states)
        return h0, c0[0] if c0 else None

    @torch.no_grad()
    def _blocks(self, layers: range, reverse: bool, x: Tensor, first: int) -> Iterator[Block]:
        kind = PUSHED[self.module.mode]
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
                run = layer_runs.run(self.module, narrow[number], inputs, h, c, None)
                check_states(run.h[1:], self.name, layer, DIRECTIONS[reverse], start)
                if start + len(inputs) > first:
                    c_first = None if c is None else c.double()
                    blocks.append(kind(wide[number], inputs.double(), run.h.double(), c_first))
                states[number] = (run.h_n, run.c_n)
                inputs = run.h[1:] * masks[number] if number < len(masks) else run.h[1:]
            if blocks:
                stack = [Layers(blocks, [mask.double() for mask in masks])] if len(blocks) > 1 else []
                yield Block(start, len(inputs), (*blocks, *stack))


@dataclass(eq=False)
class ObservedRun(Run):
    """Consecutive calls of a cell: what each was called with, and every state, the first included."""

    calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    states: list[tuple[Tensor, ...]] = field(default_factory=list)
    random_states: list[Tensor] = field(default_factory=list)
    single: bool = True  # whether the state is a tensor and not a tuple

    @property
    def name(self) -> str:
        """Of the cell."""
        return self.target.name

    @property
    def batch(self) -> int:
        """B."""
        return self.states[0][0].shape[0]

    @property
    def count(self) -> int:
        """One trajectory."""
        return 1

    @property
    def widest(self) -> int:
        """The numbers in the state of a sample."""
        return sum(part[0].numel() for part in self.states[0])

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing is left out."""
        return ()

    def facts(self) -> dict[str, Any]:
        """Sizes."""
        state = self.states[0][0]
        return {
            "cell": type(self.target.module).__name__,
            "state_size": self.widest,
            "batch_size": self.batch,
            "seq_len": self.steps,
            "dtype": str(state.dtype).removeprefix("torch."),
            "device": str(state.device),
        }

    def split(self, numbers: int, at_most: int) -> list[ObservedRun]:
        """All samples together: only the cell knows whether they can be parted."""
        return [self]

    def trajectories(self) -> Iterator[Trajectory]:
        """The cell by itself."""
        functions = [self._step(*call) for call in self.calls]
        pushed = PushedStep(functions, self.states, self.random_states, repr(self.name))
        system = System(self.name, self.number, self.target.layer, self.target.direction, self.widest)
        state = self.states[0][0]
        like = state.new_empty(0, dtype=working_dtype(state.dtype))

        def blocks(first: int) -> Iterator[Block]:
            yield Block(0, self.steps, (pushed,))

        yield Trajectory((system,), self.steps, self.batch, like, blocks)

    def _step(
        self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[..., Any]:
        """The state after a step as a function of the parts of the state before it, all else as it was."""

        def step(*parts: Tensor) -> Any:
            state = parts[0] if self.single else parts
            if len(args) > 1:
                result = call(args[0], state, *args[2:], **kwargs)
            else:
                result = call(*args, **{**kwargs, name_of_state(self.target): state})
            return output_and_state(result, state, repr(self.name))[1]

        return step


@torch.no_grad()
def observe(model: nn.Module, inputs: Any, state: Any, cells: Cells = ()) -> list[Observed]:
    """The calls that a forward pass of `model` makes, which it leaves its marks on (see `preserving`).

    Raises for what cannot be run, or followed.
    """
    targets = targets_of(model, cells)
    if isinstance(model, nn.RNNBase) and targets[0].fused:  # no need to run it, nor to hold its output
        given = inputs if type(inputs) is tuple else (inputs,)
        arguments = (*given, *(() if state is None else (state,)))
        if not 1 <= len(arguments) <= 2:
            raise InvalidTypeError(
                f"inputs: expected a sequence, or a sequence and a state, got {len(arguments)} arguments "
                "with the state; see lyapunov_spectrum"
            )
        read_weights(model)
        return [_fused(targets[0], 0, arguments, {})]
    observer = _Observer()
    with Capture(targets, observer.see):
        Arguments.of(model, inputs, state)()
    check_called(targets, [one.target for one in observer.observed])
    return observer.found()


class _Observer:
    """Looks on while a model runs, and sorts its calls."""

    def __init__(self) -> None:
        self.observed: list[ObservedCall | ObservedRun] = []
        self.counts: Counter[Target] = Counter()
        self.runs: dict[Target, ObservedRun] = {}
        self.finals: dict[Target, tuple[Tensor, ...]] = {}

    def see(
        self, target: Target, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make a call and keep what it was made with."""
        before = torch.get_rng_state()
        found = _fused(target, self.counts[target], args, kwargs) if target.fused else None
        torch.set_rng_state(before)
        result = call(*args, **kwargs) if target.fused else made(target, call, args, kwargs)
        if found is None:
            self._step(target, call, args, kwargs, result, before)
            return result
        # Only now, as a parametrisation may have made others for the call than those of before.
        found = replace(found, weights=_detached(used(found.module)))
        if not self._joined(found):
            self.observed.append(found)
            self.counts[target] += 1
        self.finals[target] = tuple(part.detach() for part in parts_of(result[1]))
        return result

    def _joined(self, call: ObservedCall) -> bool:
        """Whether a single step of a module goes on from the state of the step before; if so, they are one call."""
        last = next((one for one in reversed(self.observed) if one.target is call.target), None)
        finals = self.finals.get(call.target)
        if (
            not isinstance(last, ObservedCall)
            or finals is None
            or call.steps > 1
            or self.counts[call.target] == 0
        ):
            return False
        same = all(
            old.numel() == new.numel() and torch.equal(old.reshape(new.shape), new)
            for old, new in zip(finals, call.states, strict=True)
        )
        if same and last.x.shape[1:] == call.x.shape[1:]:
            # Kept as a list of steps until the end would be faster; loops of fused modules are short.
            joined = replace(
                last, x=torch.cat([last.x, call.x]), masks=tuple(map(_cat, last.masks, call.masks))
            )
            self.observed[self.observed.index(last)] = joined
        return same

    def _step(
        self,
        target: Target,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        random_state: Tensor,
    ) -> None:
        given = given_of(target, args, kwargs)
        before = () if given is None else tuple(part.detach() for part in parts_of(given))
        state = output_and_state(result, given, repr(target.name))[1]
        after = tuple(part.detach() for part in parts_of(state))
        run = self.runs.get(target)
        if run is None or not run.goes_on(before):
            run = self.runs[target] = ObservedRun(target, self.counts[target], single=isinstance(state, Tensor))
            self.counts[target] += 1
            self.observed.append(run)
            # A first state that the cell makes up itself is taken for zeros, as torch's cells have it.
            run.states.append(before or tuple(torch.zeros_like(part) for part in after))
        run.steps, run.handed = run.steps + 1, after
        run.calls.append((call, args, kwargs))
        run.states.append(after)
        run.random_states.append(random_state)

    def found(self) -> list[Observed]:
        """All of it. Raises where a state was changed on its way."""
        found: list[Observed] = []
        for one in self.observed:
            if isinstance(one, ObservedRun):
                _check_run(one)
                found.append(_as_fused(one) if _has_plain_weights(one.target.module) else _batched(one))
            else:
                found.append(one)
        return found


def _check_run(run: ObservedRun) -> None:
    if run.altered:
        raise InvalidValueError(
            f"{run.name!r}: expected a state that is handed on as it is, got another one at step {run.altered[0]} than "
            "the step before gave (a mask, a reset or a mix), so there is no single trajectory; pass a sequence "
            "without that"
        )
    for part in zip(*run.states[1:], strict=True):
        check_states(torch.stack(part), run.name, run.target.layer, run.target.direction)


def _has_plain_weights(cell: nn.Module) -> bool:
    """Whether this is a cell of torch's own that works with its own parameters, not with what is made of them."""
    return type(cell) in STEPPED and all(
        isinstance(w, nn.Parameter) for w in cell._parameters.values() if w is not None
    )


def _as_fused(run: ObservedRun) -> ObservedCall:
    """A run of one of torch's cells as the call of a fused module with its weights."""
    cell: Any = run.target.module
    x = torch.stack([(args[0] if args else kwargs["input"]).detach() for _, args, kwargs in run.calls])
    states = run.states[0]
    if x.dim() == 2:
        x, states = x.unsqueeze(1), tuple(part.unsqueeze(0) for part in states)
    module = fused_of(cell)
    weights = _detached(read_weights(module))
    check_weights(run.name, module, weights)
    dtype = weights["weight_ih_l0"].dtype
    states = tuple(part.unsqueeze(0).to(dtype) for part in states)
    return ObservedCall(run.target, run.number, module, weights, x.to(dtype), states)


def _batched(run: ObservedRun) -> ObservedRun:
    if run.states[0][0].dim() < 2:
        raise InvalidValueError(
            f"{run.name!r}: expected states (B, ...), got {tuple(run.states[0][0].shape)}; add a dimension "
            "for the batch"
        )
    return run


def _detached(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in weights.items()}


def _cat(one: Tensor, other: Tensor) -> Tensor:
    return torch.cat([one, other])


def _fused(target: Target, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ObservedCall:
    sequence, hx = arguments_of(args, kwargs)
    module = module_of(target)
    weights = _detached(used(module))
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
