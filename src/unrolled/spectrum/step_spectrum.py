"""The spectrum of a recurrence that somebody else wrote, given as a function of one step."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.cells.linearisations import Steps
from unrolled.rollout.steps import State, Step, parts_of, run_steps
from unrolled.spectrum.codec import environment
from unrolled.spectrum.lyapunov import check_k, check_length, check_options, follow
from unrolled.spectrum.lyapunov_record import LyapunovSpectrum
from unrolled.spectrum.singular_record import JacobianSingularValues, SingularValues
from unrolled.spectrum.singular_values import check_lags, leg_values
from unrolled.spectrum.system import System
from unrolled.spectrum.trajectory import Leg, Segment


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
    leg = _leg(step, inputs, state, name)
    check_length(leg.steps, warm_up)
    check_k(k, leg.systems[0].size)
    with _without_torchs_notes():
        parts = follow(leg, k, warm_up, qr_every, lambda steps: None)
    return LyapunovSpectrum(tuple(parts), {name: _facts(leg)}, (), environment())


@torch.no_grad()
def step_jacobian_singular_values(
    step: Step, inputs: Tensor, state: State, lags: Sequence[int], *, name: str = "step"
) -> JacobianSingularValues:
    """The singular values of `∂s_T/∂s_{T-k}` of `step(x_t, state) -> state` for every lag k, in the log domain.

    The arguments are those of `step_lyapunov_spectrum`, the result is that of `jacobian_singular_values`.
    """
    leg = _leg(step, inputs, state, name)
    wanted = check_lags(lags, leg.steps)
    with _without_torchs_notes():
        values = leg_values(leg, wanted, lambda steps: None)
    part = SingularValues(leg.systems[0], np.array(wanted, dtype=np.int64), values[0])
    return JacobianSingularValues((part,), {name: _facts(leg)}, (), environment())


@contextmanager
def _without_torchs_notes() -> Iterator[None]:
    """Some versions deprecate, in their own code, what `jvp` loads when it is first used."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated")
        yield


class PushedStep(Steps):
    """The steps of a function, linearised about the states it went through, `(T + 1, B, ...)` per part."""

    def __init__(self, step: Step, inputs: Tensor, states: tuple[Tensor, ...], single: bool) -> None:
        self.function, self.inputs, self.states, self.single = step, inputs, states, single

    def step(self, t: int, v: Tensor, out: Tensor) -> None:
        """All tangents at once, by `vmap`."""
        before = tuple(part[t] for part in self.states)
        rows = v.view(len(v), len(before[0]), -1).permute(2, 1, 0)  # (k, B, n)
        sizes = [part[0].numel() for part in before]
        tangents = tuple(
            rows_of.reshape(len(rows), *part.shape)
            for rows_of, part in zip(rows.split_with_sizes(sizes, dim=-1), before, strict=True)
        )

        def function(*parts: Tensor) -> tuple[Tensor, ...]:
            return parts_of(self.function(self.inputs[t], parts[0] if self.single else parts))

        def push(*directions: Tensor) -> Any:
            jvp: Any = torch.func.jvp
            return jvp(function, before, directions)[1]

        pushed = torch.func.vmap(push)(*tangents)
        joined = torch.cat([part.flatten(2) for part in pushed], dim=-1)
        out.copy_(joined.permute(2, 1, 0).reshape(out.shape))


def _leg(step: Step, inputs: Tensor, state: State, name: str) -> Leg:
    states = run_steps(step, inputs, state, name)
    size = sum(part[0, 0].numel() for part in states)
    dtype = torch.float64 if states[0].dtype == torch.float64 else torch.float32

    def segments(first: int) -> Iterator[Segment]:
        yield Segment(0, len(inputs), (PushedStep(step, inputs, states, isinstance(state, Tensor)),))

    system = System(name, 0, 0, "forward", size)
    return Leg((system,), len(inputs), inputs.shape[1], states[0].new_empty(0, dtype=dtype), segments)


def _facts(leg: Leg) -> dict[str, Any]:
    return {
        "state_size": leg.systems[0].size,
        "batch_size": leg.batch,
        "seq_len": leg.steps,
        "dtype": str(leg.like.dtype).removeprefix("torch."),
        "device": str(leg.like.device),
    }
