"""A recurrence `s_t = f(s_{t-1}, x_t)` as Newton's method needs it: all its steps at once, and their Jacobians.

A state `(B, S)` is that of a layer and direction in one row, `h` or `h` beside `c`. All T steps from given states
`(T, B, S)` are one batch of `T * B` samples of a single step, so nothing in here goes through time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from unrolled.cells.cell import Cell
from unrolled.cells.linearised import Buffers, Linearised
from unrolled.cells.own import parts_of
from unrolled.cells.push_forward import Steps
from unrolled.cells.weights import Weights
from unrolled.errors import InvalidValueError
from unrolled.observed.pushed_step import PushedStep
from unrolled.rollout.steps import Step

# Numbers in the Jacobians that are worked out together: 32 MB in float64, in each of a few tensors.
TOGETHER = 2**22


class Recurrence(ABC):
    """`inputs` `(T, B, ...)`, and the shapes of the parts of a state without its batch."""

    def __init__(self, inputs: Tensor, shapes: Sequence[torch.Size]) -> None:
        self.inputs, self.shapes = inputs, tuple(shapes)
        self.sizes = [shape.numel() for shape in shapes]

    @property
    def steps(self) -> int:
        """T."""
        return len(self.inputs)

    @property
    def size(self) -> int:
        """S."""
        return sum(self.sizes)

    @abstractmethod
    def over(self, inputs: Tensor) -> Self:
        """The same recurrence with other inputs."""

    def part(self, first: int, last: int | None = None) -> Self:
        """Steps `first` to `last`."""
        return self.over(self.inputs[first:last])

    def sample(self, number: int) -> Self:
        """One sample of the batch, as a batch of its own."""
        return self.over(self.inputs[:, number : number + 1])

    @abstractmethod
    def after(self, x: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A step of N samples."""

    @abstractmethod
    def linearised(self, x: Tensor, before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> Steps:
        """The same step of N samples, to push tangents through."""

    def apply(self, before: Tensor) -> Tensor:
        """`f(s_{t-1}, x_t)` for all t, from `before` `(T, B, S)`."""
        rows = self.after(self.inputs.flatten(0, 1), self._parts(before.flatten(0, 1)))
        return self._joined(rows).view(before.shape)

    def jacobians(self, before: Tensor, after: Tensor) -> Tensor:
        """`∂f/∂s` `(T, B, S, S)` at `before`, whose steps give `after`."""
        steps, batch, size = before.shape
        x, old, new = self.inputs.flatten(0, 1), before.flatten(0, 1), after.flatten(0, 1)
        found = old.new_empty(steps * batch, size, size)
        count = max(1, TOGETHER // (size * size))
        for first in range(0, len(x), count):
            cut = slice(first, first + count)
            push = self.linearised(x[cut], self._parts(old[cut]), self._parts(new[cut]))
            rows = len(x[cut])
            columns = torch.eye(size, dtype=old.dtype, device=old.device).repeat(1, rows)
            out = torch.empty_like(columns)
            push.step(0, columns, out)
            found[cut] = out.view(size, rows, size).transpose(0, 1)
        return found.view(steps, batch, size, size)

    def diagonals(self, before: Tensor, after: Tensor) -> Tensor:
        """The diagonals of `jacobians`, `(T, B, S)`."""
        return self.jacobians(before, after).diagonal(dim1=-2, dim2=-1).contiguous()

    def _parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        parts = rows.split_with_sizes(self.sizes, dim=-1)
        return tuple(part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True))

    def _joined(self, parts: tuple[Tensor, ...]) -> Tensor:
        return torch.cat([part.flatten(1) for part in parts], dim=-1)


class LayerRecurrence(Recurrence):
    """One layer and direction of one of torch's kinds over `x` `(T, B, I)`, by the kind's own linearisation."""

    def __init__(self, cell: Cell, weights: Weights, x: Tensor) -> None:
        projection = weights.weight_hr
        hidden = weights.weight_ih.shape[0] // len(cell.gates)
        sizes = cell.state_sizes(hidden, 0 if projection is None else projection.shape[0])
        super().__init__(x, [torch.Size((size,)) for size in sizes])
        self.cell, self.weights = cell, weights

    def over(self, inputs: Tensor) -> Self:
        """The same layer."""
        return type(self)(self.cell, self.weights, inputs)

    def detached(self) -> Self:
        """The same with weights and inputs that record no graph."""
        weights = Weights(*(weight if weight is None else weight.detach() for weight in self.weights.all()))  # type: ignore[arg-type]
        return type(self)(self.cell, weights, self.inputs.detach())

    def after(self, x: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The kind's own step."""
        return self.cell.step(self.weights, x, parts)

    def linearised(self, x: Tensor, before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> Steps:
        """A block of one step."""
        return self._block(x, before, after).push_forward()

    def _block(self, x: Tensor, before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> Linearised:
        h = torch.stack((before[0], after[0]))
        c = before[1] if len(before) > 1 else None
        return self.cell.linearise(self.weights, x.unsqueeze(0), h, c, Buffers(1, h))

    def diagonals(self, before: Tensor, after: Tensor) -> Tensor:
        """By a tangent of ones for each part, in place of one for each number, where each unit reads itself alone.

        What a unit of a gated layer moves itself by goes through its own gates, so through the diagonals of the
        recurrent weights. A projection mixes units: then it is as it is for all.
        """
        if self.weights.weight_hr is not None:
            return super().diagonals(before, after)
        x, old, new = self.inputs.flatten(0, 1), before.flatten(0, 1), after.flatten(0, 1)
        push = self._block(x, self._parts(old), self._parts(new)).alone()
        rows, found = len(x), list[Tensor]()
        for k, ones in enumerate(torch.eye(len(self.sizes), dtype=old.dtype, device=old.device)):
            columns = (
                ones.repeat_interleave(torch.tensor(self.sizes, device=old.device)).unsqueeze(1).repeat(1, rows)
            )
            out = torch.empty_like(columns)
            push.step(0, columns, out)
            found.append(out.split_with_sizes(self.sizes)[k])
        return torch.cat(found).t().reshape(before.shape)


class StepRecurrence(Recurrence):
    """A function `step(x_t, state) -> state` that somebody else wrote, by `torch.func`.

    Its samples have to be independent of each other, as it is given all steps as one batch. `single` says that its
    state is a tensor and not a tuple.
    """

    def __init__(
        self, step: Step, inputs: Tensor, shapes: Sequence[torch.Size], single: bool, name: str = "step"
    ) -> None:
        super().__init__(inputs, shapes)
        self.step, self.single, self.name = step, single, name

    def over(self, inputs: Tensor) -> Self:
        """The same function."""
        return type(self)(self.step, inputs, self.shapes, self.single, self.name)

    def after(self, x: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What the function gives, with the parts of its state as they came."""
        found = parts_of(self.step(x, parts[0] if self.single else parts))
        if [part.shape for part in found] != [part.shape for part in parts]:
            raise InvalidValueError(
                f"{self.name}: expected a state shaped as it came, {[tuple(p.shape) for p in parts]}, got "
                f"{[tuple(p.shape) for p in found]}; return the whole next state"
            )
        return found

    def linearised(self, x: Tensor, before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> Steps:
        """By tangents through the function."""

        def stepped(*parts: Tensor) -> Any:
            return self.step(x, parts[0] if self.single else parts)

        return PushedStep([stepped], [before], [torch.get_rng_state()], self.name)


@torch.no_grad()
def in_a_row(recurrence: Recurrence, first: Tensor) -> Tensor:
    """All states `(T, B, S)` by one step after the other from `first` `(B, S)`: what Newton has to find."""
    states = []
    for t in range(recurrence.steps):
        first = recurrence.part(t, t + 1).apply(first.unsqueeze(0))[0]
        states.append(first)
    return torch.stack(states)
