"""The recurrences inside a forward pass: each layer and direction of each call, with the states it went through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells import cell_of
from unrolled.cells.own import output_and_state
from unrolled.cells.weights import Weights
from unrolled.errors import InvalidValueError
from unrolled.newton.recurrence import LayerRecurrence, Recurrence, StepRecurrence, in_a_row
from unrolled.observed.call import ObservedCall
from unrolled.observed.observe import observe
from unrolled.observed.run import ObservedRun
from unrolled.observed.system import System
from unrolled.rollout.fused import DIRECTIONS
from unrolled.rollout.nonfinite import check_states
from unrolled.rollout.targets import Cells

# What the same step may differ by, relative to the largest state, when it is one of a batch: rounding, in float32 too.
ALONE = 1e-4


@dataclass(frozen=True)
class Followed:
    """One recurrence from `first` `(B, S)`, and the `states` `(T, B, S)` of one step after the other."""

    system: System
    recurrence: Recurrence
    first: Tensor
    states: Tensor


@torch.no_grad()
def systems_of(module: nn.Module, inputs: Any, state: Any, cells: Cells = ()) -> Iterator[Followed]:
    """All of them, in the order in which they run; each layer reads what those below it gave."""
    for call in observe(module, inputs, state, cells):
        yield from _of_call(call) if isinstance(call, ObservedCall) else _of_run(call)


def _of_call(call: ObservedCall) -> Iterator[Followed]:
    cell, module = cell_of(call.module), call.module
    ways = (False, True) if module.bidirectional else (False,)
    x = call.x
    for layer in range(module.num_layers):
        outputs = []
        for reverse in ways:
            recurrence = LayerRecurrence(
                cell, Weights.of(call.weights, layer, reverse), x.flip(0) if reverse else x
            )
            first = torch.cat([part[layer * len(ways) + reverse] for part in call.states], dim=-1)
            states = in_a_row(recurrence, first)
            check_states(states, call.name, layer, DIRECTIONS[reverse])
            system = System(call.name, call.number, layer, DIRECTIONS[reverse], recurrence.size)
            yield Followed(system, recurrence, first, states)
            h = states[..., : recurrence.sizes[0]]
            outputs.append(h.flip(0) if reverse else h)
        x = torch.cat(outputs, dim=-1)
        if layer < len(call.masks):
            x = x * call.masks[layer]


def _of_run(run: Any) -> Iterator[Followed]:
    """Of a cell that is called with `x_t` and its state alone, as all steps are one batch to it."""
    if not isinstance(run, ObservedRun) or any(
        not args or not isinstance(args[0], Tensor) or len(args) > 2 or len(args) + len(kwargs) > 2
        for _, args, kwargs in run.calls
    ):
        raise InvalidValueError(
            f"{run.name!r}: expected calls cell(x_t, state), got other arguments; wrap the cell so that it takes these"
        )
    called = run.calls[0][0]

    def step(x: Tensor, state: Any) -> Any:
        return output_and_state(called(x, state), state, repr(run.name))[1]

    inputs = torch.stack([args[0].detach() for _, args, _ in run.calls])
    shapes = [part.shape[1:] for part in run.states[0]]
    recurrence = StepRecurrence(step, inputs, shapes, run.single, repr(run.name))
    rows = [torch.cat([part.flatten(1) for part in parts], dim=-1) for parts in run.states]
    system = System(run.name, run.number, run.target.layer, run.target.direction, recurrence.size)
    states = torch.stack(rows[1:])
    check_alone(recurrence, rows[0], states)
    yield Followed(system, recurrence, rows[0], states)


@torch.no_grad()
def check_alone(recurrence: StepRecurrence, first: Tensor, states: Tensor) -> None:
    """Raise `InvalidValueError` unless all steps as one batch give what one after the other gave."""
    again = recurrence.apply(torch.cat((first.unsqueeze(0), states[:-1])))
    largest = max(float(states.abs().max()), torch.finfo(states.dtype).tiny)
    off = float((again - states).abs().max())
    if not off <= ALONE * largest:
        raise InvalidValueError(
            f"{recurrence.name}: expected steps that depend on x_t and their own state alone, got others when all "
            f"were one batch, by up to {off / largest:.2g} of the largest; pass numbers that it draws as inputs, and "
            "normalise no batches"
        )
