"""A recurrence given as a function of one step, run over a sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.rollout.nonfinite import check_states

State = Tensor | tuple[Tensor, ...]
Step = Callable[[Tensor, Any], Any]


@torch.no_grad()
def run_steps(step: Step, inputs: Tensor, state: State, name: str) -> tuple[Tensor, ...]:
    """All states, the first included, as `(T + 1, B, ...)` per part."""
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
            "inputs: expected at least 2 steps, got T = 1, which has nothing to flow back to; pass a "
            "longer sequence"
        )
    if not bool(torch.isfinite(inputs).all()):
        raise InvalidValueError("inputs: expected finite numbers, got NaN or inf; clean the input")
    found = [parts_of(state)]
    for part in found[0]:
        if part.dim() < 2 or part.shape[0] != inputs.shape[1]:
            raise InvalidValueError(
                f"state: expected {inputs.shape[1]} samples first, as in the inputs, got "
                f"{tuple(part.shape)}; "
                "pass (B, H), or a tuple of such"
            )
    for x_t in inputs:
        after = parts_of(step(x_t, found[-1][0] if isinstance(state, Tensor) else found[-1]))
        if [part.shape for part in after] != [part.shape for part in found[0]]:
            raise InvalidValueError(
                f"step: expected a state shaped as it came, {[tuple(p.shape) for p in found[0]]}, got "
                f"{[tuple(p.shape) for p in after]}; return the whole next state"
            )
        found.append(after)
    states = tuple(torch.stack(parts) for parts in zip(*found, strict=True))
    for part in states:
        check_states(part[1:], name, 0, "forward")
    return states


def parts_of(state: Any) -> tuple[Tensor, ...]:
    """A state as a tuple. Raises `InvalidTypeError` for what is none."""
    parts = (state,) if isinstance(state, Tensor) else state
    is_tuple = isinstance(parts, tuple | list) and len(parts) > 0
    if not is_tuple or not all(isinstance(part, Tensor) for part in parts):
        raise InvalidTypeError(
            f"state: expected a tensor or a tuple of tensors, got {type(state).__name__}; take and return one "
            "of these"
        )
    return tuple(parts)
