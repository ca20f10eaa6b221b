"""The spectrum of a recurrence that somebody else wrote, given as a function of one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.cells.own import State
from unrolled.environment import Environment
from unrolled.observed.facts import Facts
from unrolled.observed.pushed_step import PushedStep
from unrolled.observed.system import System
from unrolled.observed.trajectory import Block, Trajectory
from unrolled.rollout.scaled import working_dtype
from unrolled.rollout.steps import Step, run_steps
from unrolled.spectrum.lyapunov import check_k, check_length, check_options, exponents_along
from unrolled.spectrum.lyapunov_record import LyapunovSpectrum
from unrolled.spectrum.singular_record import JacobianSingularValues, SingularValues
from unrolled.spectrum.singular_values import check_lags, singular_values_along


@torch.no_grad()
def step_lyapunov_spectrum(
    step: Step,
    inputs: Tensor,
    state: State,
    *,
    k: int | None = None,
    warm_up: int = 0,
    qr_every: int | str = "auto",
    name: str = "step",
) -> LyapunovSpectrum:
    """The Lyapunov exponents of `step(x_t, state) -> state`, run over `inputs` `(T, B, ...)`, in nats per step.

    `state` is the first state: a tensor `(B, ...)` or a tuple of them, which is what `step` returns too.
    Tangents go through `torch.func.jvp` in the state's dtype, so a float32 step has a float32 spectrum. The
    samples of a batch are taken to be systems of their own: a step that mixes them belongs in one sample.
    All states are kept. The options are those of `lyapunov_spectrum`.

    Raises `InvalidTypeError` or `InvalidValueError` for what cannot be run, `NonFiniteError` where a step
    yields NaN or inf.
    """
    check_options(warm_up, qr_every)
    trajectory = _trajectory(step, inputs, state, name)
    check_length(trajectory.steps, warm_up)
    check_k(k, trajectory.systems[0].size)
    parts = exponents_along(trajectory, k, warm_up, qr_every, lambda steps: None)
    return LyapunovSpectrum(tuple(parts), {name: _facts(trajectory)}, (), Environment.without_load())


@torch.no_grad()
def step_jacobian_singular_values(
    step: Step, inputs: Tensor, state: State, lags: Sequence[int], *, name: str = "step"
) -> JacobianSingularValues:
    """The singular values of `∂s_T/∂s_{T-k}` of `step(x_t, state) -> state` for every lag k, in the log domain.

    The arguments are those of `step_lyapunov_spectrum`, the result is that of `jacobian_singular_values`.
    """
    trajectory = _trajectory(step, inputs, state, name)
    wanted = check_lags(lags, trajectory.steps)
    values = singular_values_along(trajectory, wanted, lambda steps: None)
    part = SingularValues(trajectory.systems[0], np.array(wanted, dtype=np.int64), values[0])
    return JacobianSingularValues((part,), {name: _facts(trajectory)}, (), Environment.without_load())


def _trajectory(step: Step, inputs: Tensor, state: State, name: str) -> Trajectory:
    states, random_states = run_steps(step, inputs, state, name)
    single = isinstance(state, Tensor)
    functions = [partial(_stepped, step, x_t, single) for x_t in inputs]
    pushed = PushedStep(functions, states, random_states, name)
    dtype = working_dtype(states[0][0].dtype)

    def blocks(first: int) -> Iterator[Block]:
        yield Block(0, len(inputs), (pushed,))

    system = System(name, 0, 0, "forward", sum(part[0].numel() for part in states[0]))
    like = states[0][0].new_empty(0, dtype=dtype)
    return Trajectory((system,), len(inputs), inputs.shape[1], like, blocks)


def _stepped(step: Step, x: Tensor, single: bool, *parts: Tensor) -> Any:
    return step(x, parts[0] if single else parts)


def _facts(trajectory: Trajectory) -> Facts:
    return Facts(
        batch_size=trajectory.batch,
        seq_len=trajectory.steps,
        dtype=str(trajectory.like.dtype).removeprefix("torch."),
        device=str(trajectory.like.device),
        state_size=trajectory.systems[0].size,
    )
