"""The gradient flow of a recurrence that somebody else wrote, given as a function of one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.own import State, parts_of
from unrolled.errors import InvalidValueError
from unrolled.gradients.clipping import Clip
from unrolled.gradients.flow import GradientFlow, flow_of
from unrolled.gradients.loss import last_step_loss
from unrolled.rollout.layout import Layout
from unrolled.rollout.steps import Step, StepCell, check_steps
from unrolled.rollout.targets import Target


def step_gradient_flow(
    step: Step,
    inputs: Tensor,
    state: State,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    name: str = "step",
) -> GradientFlow:
    """The total gradient of every state of `step(x_t, state) -> state`, run over `inputs` `(T, B, ...)`.

    `state` is the first state: a tensor `(B, ...)` or a tuple of them, which is what `step` returns too. `loss` maps
    the states after every step, `(T, B, ...)` stacked, one or a tuple, to a scalar; by default a fixed random unit
    cotangent per sample at the last step of the first of them. The paths are `h` for one tensor, `h` and `c` for two,
    and `0`, `1`, ... for more.

    It is `gradient_flow` of a loop over `step`: total gradients, norms that never under- or overflow, steps that
    draw random numbers taken as they were drawn. Gradients with respect to what `step` closes over are not taken.

    Raises `InvalidTypeError` or `InvalidValueError` for what cannot be run, `NonFiniteError` where a step yields NaN
    or inf.
    """
    check_steps(step, inputs, state)
    model = _Loop(StepCell(step), state)
    target = Target(name, model.cell, named_by_user=True)
    wanted = _last if loss is None else loss
    return flow_of(model, lambda: model(inputs), (target,), wanted, Clip("none"))


class _Loop(nn.Module):
    """All states that a step goes through, as `(T, B, ...)`: one tensor, or a tuple."""

    def __init__(self, cell: StepCell, state: State) -> None:
        super().__init__()
        self.cell, self.state = cell, state

    def forward(self, inputs: Tensor) -> Any:
        """Run it over `inputs` `(T, B, ...)`."""
        state, found = self.state, []
        for x_t in inputs:
            state = self.cell(x_t, state)
            found.append(parts_of(state))
        states = tuple(torch.stack(parts) for parts in zip(*found, strict=True))
        return states[0] if isinstance(self.state, Tensor) else states


def _last(states: Any) -> Tensor:
    first = states if isinstance(states, Tensor) else states[0]
    if first.dim() < 3:
        raise InvalidValueError(f"state: expected (B, H), got {tuple(first.shape[1:])}; add a dimension")
    return last_step_loss(first.flatten(2), Layout(False, True, None, None))
