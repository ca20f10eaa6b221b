"""A recurrence given as a function of one step, run over a sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.own import State, parts_of
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.rollout.nonfinite import check_states

Step = Callable[[Tensor, Any], Any]


class StepCell(nn.Module):
    """A function of one step as a cell."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor, state: Any) -> Any:
        """What the function gives."""
        return self.step(x, state)


def check_steps(step: Step, inputs: Tensor, state: State) -> None:
    """Raise unless there is a function, and a sequence and a first state to run it over."""
    if not callable(step):
        raise InvalidTypeError(
            f"step: expected a function step(x_t, state), got {type(step).__name__}; pass one"
        )
    if not isinstance(inputs, Tensor) or inputs.dim() < 2 or inputs.numel() == 0:
        got = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise InvalidValueError(
            f"inputs: expected a tensor (T, B, ...) that is not empty, got {got}; reshape it"
        )
    if inputs.shape[0] < 2:
        raise InvalidValueError(
            "inputs: expected at least 2 steps, got T = 1, which has nothing to flow back to; pass a longer sequence"
        )
    if not bool(torch.isfinite(inputs).all()):
        raise InvalidValueError("inputs: expected finite numbers, got NaN or inf; clean the input")
    for part in parts_of(state):
        if part.dim() < 2 or part.shape[0] != inputs.shape[1]:
            raise InvalidValueError(
                f"state: expected {inputs.shape[1]} samples first, as in the inputs, got {tuple(part.shape)}; pass "
                "(B, H), or a tuple of such"
            )


@torch.no_grad()
def run_steps(
    step: Step, inputs: Tensor, state: State, name: str
) -> tuple[list[tuple[Tensor, ...]], list[Tensor]]:
    """All states by parts, the first included, and the state of the random generator before each step."""
    check_steps(step, inputs, state)
    states, random_states = [parts_of(state)], []
    for x_t in inputs:
        random_states.append(torch.get_rng_state())
        after = parts_of(step(x_t, states[-1][0] if isinstance(state, Tensor) else states[-1]))
        if [part.shape for part in after] != [part.shape for part in states[0]]:
            raise InvalidValueError(
                f"step: expected a state shaped as it came, {[tuple(p.shape) for p in states[0]]}, got "
                f"{[tuple(p.shape) for p in after]}; return the whole next state"
            )
        states.append(after)
    for part in zip(*states[1:], strict=True):
        check_states(torch.stack(part), name, 0, "forward")
    return states, random_states
