"""A run of calls of a cell, as a system whose trajectory can be followed; its states are kept as they came by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.own import output_and_state
from unrolled.errors import InvalidValueError
from unrolled.observed.facts import Facts
from unrolled.observed.pushed_step import PushedStep
from unrolled.observed.system import System
from unrolled.observed.trajectory import Block, Trajectory
from unrolled.rollout.nonfinite import check_states
from unrolled.rollout.runs import Run, check_real, name_of_state
from unrolled.rollout.scaled import working_dtype


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

    def facts(self) -> Facts:
        """Sizes."""
        state = self.states[0][0]
        return Facts(
            batch_size=self.batch,
            seq_len=self.steps,
            dtype=str(state.dtype).removeprefix("torch."),
            device=str(state.device),
            cell=type(self.target.module).__name__,
            state_size=self.widest,
        )

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


def check_run(run: ObservedRun) -> None:
    """Raise where the state was changed between two steps, or is not finite."""
    if run.altered:
        raise InvalidValueError(
            f"{run.name!r}: expected a state that is handed on as it is, got another at step {run.altered[0]} than "
            "the step before gave (a mask, a reset or a mix), so there is no single trajectory; pass a sequence "
            "without that"
        )
    check_real(run.name, run.states[-1])
    for part in zip(*run.states[1:], strict=True):
        check_states(torch.stack(part), run.name, run.target.layer, run.target.direction)


def batched(run: ObservedRun) -> ObservedRun:
    """The run. Raises where its states have no batch."""
    if run.states[0][0].dim() < 2:
        raise InvalidValueError(
            f"{run.name!r}: expected states (B, ...), got {tuple(run.states[0][0].shape)}; add a dimension for the "
            "batch"
        )
    return run
