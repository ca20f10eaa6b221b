"""The gradient flow of a recurrence that somebody else wrote, given as a function of one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import InvalidValueError
from unrolled.gradients.flow import GradientFlow
from unrolled.gradients.loss import last_step_loss
from unrolled.gradients.profile import Profile
from unrolled.gradients.segments import bands
from unrolled.rollout.layout import Layout
from unrolled.rollout.nonfinite import check_cotangent
from unrolled.rollout.scaled import Scaled
from unrolled.rollout.steps import State, Step, parts_of, run_steps


@torch.no_grad()
def step_gradient_flow(
    step: Step,
    inputs: Tensor,
    state: State,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    name: str = "step",
) -> GradientFlow:
    """The total gradient of every state of `step(x_t, state) -> state`, run over `inputs` `(T, B, ...)`.

    `state` is the first state: a tensor `(B, ...)` or a tuple of them, which is what `step` returns too.
    `loss`
    maps the states after every step, `(T, B, ...)` stacked, one or a tuple, to a scalar; by default a fixed
    random unit cotangent per sample at the last step of the first of them. The paths are `h` for one
    tensor,
    `h` and `c` for two, and `0`, `1`, ... for more.

    Each step is pulled back by `torch.func.vjp`, so `step` must be made of what that can differentiate; its
    gradients with respect to parameters are not taken. Norms never under- or overflow: samples whose
    gradients differ by more than the dtype holds are pulled back apart, which is exact even where a step
    mixes samples. The gradients are those of the states as independent variables: for an LSTM's `c`, what
    arrives through the next cell state.

    Raises `InvalidTypeError` or `InvalidValueError` for what cannot be run, `NonFiniteError` where a step
    yields NaN or inf.
    """
    states = run_steps(step, inputs, state, name)
    directs = _direct(states, isinstance(state, Tensor), loss, name)
    paths = {1: ("h",), 2: ("h", "c")}.get(len(directs), tuple(map(str, range(len(directs)))))
    steps, batch = inputs.shape[:2]
    norms = torch.empty(len(paths), steps, batch, dtype=torch.float64)
    carried = [Scaled(direct.mantissa[-1], direct.exponent[-1]).normalised() for direct in directs]
    for t in reversed(range(steps)):
        for path, cotangent in enumerate(carried):
            norms[path, t] = cotangent.log2_norm()
        if t:
            before = tuple(part[t] for part in states)
            carried = _pull(step, inputs[t], before, carried, isinstance(state, Tensor))
            for path, direct in enumerate(directs):
                here = Scaled(direct.mantissa[t - 1], direct.exponent[t - 1])
                carried[path] = (carried[path] + here).normalised()
    labels = {"module": name, "call": 0, "layer": 0, "direction": "forward"}
    profiles = [Profile.of({**labels, "path": path}, norms[index]) for index, path in enumerate(paths)]
    return GradientFlow(tuple(profiles), {})


@torch.enable_grad()
def _direct(
    states: tuple[Tensor, ...], single: bool, loss: Callable[[Any], Tensor] | None, name: str
) -> list[Scaled]:
    """The direct gradients of the states after every step `(T, B, ...)`, an exponent for each sample."""
    leaves = tuple(part[1:].detach().requires_grad_() for part in states)
    if loss is None:
        scalar = last_step_loss(leaves[0].flatten(2), Layout(False, True, None, None))
    else:
        scalar = loss(leaves[0] if single else leaves)
    if not isinstance(scalar, Tensor) or scalar.numel() != 1:
        got = f"shape {tuple(scalar.shape)}" if isinstance(scalar, Tensor) else type(scalar).__name__
        raise InvalidValueError(f"loss: expected a scalar tensor, got {got}; reduce it with .mean() or .sum()")
    if not scalar.requires_grad:
        raise InvalidValueError(
            "loss: expected a loss that depends on the states, got one that does not; compute it from "
            "what it is given"
        )
    found = torch.autograd.grad(scalar.reshape(()), leaves, allow_unused=True, materialize_grads=True)
    for gradient in found:
        check_cotangent(gradient, name)
    return [Scaled.of(gradient, 2) for gradient in found]


def _pull(
    step: Step, x_t: Tensor, before: tuple[Tensor, ...], carried: list[Scaled], single: bool
) -> list[Scaled]:
    """`Jᵀ` times the carried cotangents, band by band of similar size."""
    vjp: Any = torch.func.vjp  # its return type depends on an option
    after, pull = vjp(lambda *parts: step(x_t, parts[0] if single else parts), *before)
    shapes = parts_of(after)
    total = [Scaled(torch.zeros_like(part.mantissa), torch.zeros_like(part.exponent)) for part in carried]
    for top, band in bands(carried):
        band = [part.to(like.dtype) for part, like in zip(band, shapes, strict=True)]
        found = pull(band[0] if isinstance(after, Tensor) else type(after)(band))
        total = [
            sum_ + Scaled.of(gradient, 1).scale(1.0, top) for sum_, gradient in zip(total, found, strict=True)
        ]
    return total
