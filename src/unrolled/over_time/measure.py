"""`unrolled.parallel`: whether a module can be run in parallel over time, by its exponent and by trying it."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.own import State, parts_of
from unrolled.checks import check_size
from unrolled.environment import Environment
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.networks.memory import check_memory
from unrolled.newton.attempt import TOLERANCE, double
from unrolled.newton.recurrence import StepRecurrence, in_a_row
from unrolled.newton.solve import solve
from unrolled.newton.systems import Followed, check_alone, systems_of
from unrolled.over_time.exponent import exponent_of
from unrolled.over_time.forgetting import forgets
from unrolled.over_time.measured import Iterations, Measured
from unrolled.over_time.record import BYTES, Parallel
from unrolled.rollout.nonfinite import check_states
from unrolled.rollout.preserve import preserving
from unrolled.rollout.steps import Step, check_steps
from unrolled.rollout.targets import Cells
from unrolled.spectrum.lyapunov import lyapunov_spectrum
from unrolled.spectrum.lyapunov_record import LyapunovSpectrum
from unrolled.spectrum.step_spectrum import step_lyapunov_spectrum

WARM_UP = 5  # the exponent leaves out a fifth of the steps, in which its direction turns
TENSORS = 4  # as large as all Jacobians, that are there at the same time


@preserving
def parallel(
    module: nn.Module,
    inputs: Any,
    *,
    lengths: Sequence[int],
    tolerance: float = TOLERANCE,
    limit: int | None = None,
    state: Any = None,
    cells: Cells = (),
) -> Parallel:
    """Newton's iterations over the first steps of `inputs`, as many as each of `lengths` says, and the exponent.

    `module`, `inputs`, `state` and `cells` are those of `lyapunov_spectrum`. A copy of the module is run in float64.
    Each layer and direction is solved by itself, from a first guess of 0, until `max |s_t - f(s_{t-1}, x_t)|` is at
    most `tolerance`, or for `limit` iterations. Reverse directions count from the last step.

    Raises `InvalidValueError` or `InvalidTypeError` for what cannot be run, `NonFiniteError` where the network itself
    produces NaN or inf, `OutOfMemoryError` where the Jacobians do not fit.
    """
    chosen = check_options(lengths, tolerance, limit)
    found = measure_module(
        type(module).__name__, module, inputs, chosen, tolerance, limit, state=state, cells=cells
    )
    return Parallel(chosen, tolerance, limit, (), (found,), Environment.without_load())


def measure_module(
    name: str,
    module: nn.Module,
    inputs: Any,
    lengths: tuple[int, ...],
    tolerance: float,
    limit: int | None,
    *,
    state: Any = None,
    cells: Cells = (),
) -> Measured:
    """The same of one network among others."""
    wide, inputs, state = copy.deepcopy(module).double(), double(inputs), double(state)
    followed = list(systems_of(wide, inputs, state, cells))
    steps = max(each.recurrence.steps for each in followed)
    _check_steps(lengths, followed)
    spectrum = lyapunov_spectrum(wide, inputs, k=1, state=state, warm_up=steps // WARM_UP, cells=cells)
    return _measured(name, followed, spectrum, lengths, tolerance, limit)


@torch.no_grad()
def step_parallel(
    step: Step,
    inputs: Tensor,
    state: State,
    *,
    lengths: Sequence[int],
    tolerance: float = TOLERANCE,
    limit: int | None = None,
    name: str = "step",
) -> Parallel:
    """The same of `step(x_t, state) -> state`, run over `inputs` `(T, B, ...)` from `state`.

    `step` runs in the dtype of what it is given; a narrow one may not come down to `tolerance`.
    """
    chosen = check_options(lengths, tolerance, limit)
    check_steps(step, inputs, state)
    spectrum = step_lyapunov_spectrum(step, inputs, state, k=1, warm_up=len(inputs) // WARM_UP, name=name)
    parts = parts_of(state)
    recurrence = StepRecurrence(
        step, inputs, [part.shape[1:] for part in parts], isinstance(state, Tensor), name
    )
    first = torch.cat([part.flatten(1) for part in parts], dim=-1)
    states = in_a_row(recurrence, first)
    check_states(states, name, 0, "forward")
    check_alone(recurrence, first, states)
    followed = [Followed(spectrum.parts[0].system, recurrence, first, states)]
    _check_steps(chosen, followed)
    found = _measured(name, followed, spectrum, chosen, tolerance, limit)
    return Parallel(chosen, tolerance, limit, (), (found,), Environment.without_load())


def check_options(lengths: Sequence[int], tolerance: float, limit: int | None) -> tuple[int, ...]:
    """The lengths. Raises unless they increase, and there is a tolerance above what rounding leaves."""
    if not isinstance(lengths, list | tuple | range):
        raise InvalidTypeError(f"lengths: expected numbers of steps, got {lengths!r}; try [100, 1000]")
    for length in lengths:
        check_size("lengths", length)
    if not lengths or list(lengths) != sorted(set(lengths)):
        raise InvalidValueError(
            f"lengths: expected increasing numbers of steps, got {','.join(map(str, lengths)) or 'none'}; "
            "try 100,1000"
        )
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float):
        raise InvalidTypeError(f"tolerance: expected a number above 0, got {tolerance!r}; try 1e-8")
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise InvalidValueError(f"tolerance: expected a number above 0, got {tolerance:g}; try 1e-8")
    if limit is not None:
        check_size("limit", limit)
    return tuple(lengths)


def _check_steps(lengths: tuple[int, ...], followed: list[Followed]) -> None:
    shortest = min((each.recurrence for each in followed), key=lambda each: each.steps)
    if lengths[-1] > shortest.steps:
        raise InvalidValueError(
            f"lengths: expected at most the {shortest.steps} steps of the inputs, got {lengths[-1]}; pass longer inputs"
        )
    for each in followed:
        batch, size = each.first.shape
        numbers = TENSORS * BYTES * lengths[-1] * batch * size**2
        what = f"the Jacobians of {lengths[-1]} steps of {each.system.label}"
        check_memory(what, 0, str(each.first.device), numbers)


def _measured(
    name: str,
    followed: list[Followed],
    spectrum: LyapunovSpectrum,
    lengths: tuple[int, ...],
    tolerance: float,
    limit: int | None,
) -> Measured:
    layers = [part for part in spectrum.parts if part.system.layer is not None]
    deciding = max(layers, key=lambda part: float(part.mean[0]))
    full, error = _iterations(followed, lengths, tolerance, limit, diagonal=False)
    diagonal, _ = _iterations(followed, lengths, tolerance, limit, diagonal=True)
    return Measured(
        name,
        deciding.system.label,
        max(each.recurrence.size for each in followed),
        followed[0].first.shape[0],
        exponent_of(deciding),
        all(forgets(each) for each in followed),
        full,
        diagonal,
        error,
    )


def _iterations(
    followed: list[Followed], lengths: tuple[int, ...], tolerance: float, limit: int | None, diagonal: bool
) -> tuple[Iterations, float]:
    """The most of any system, at each length, and the largest error at the last one that was tried.

    What is given up at one length is not tried at a longer one, as early states do not depend on later ones.
    """
    counts: list[int] = []
    damped: list[int] = []
    converged: list[bool] = []
    error = 0.0
    for length in lengths:
        if converged and not converged[-1]:
            counts.append(counts[-1])
            damped.append(damped[-1])
            converged.append(False)
            continue
        solutions = [
            solve(each.recurrence.part(0, length), each.first, tolerance, diagonal=diagonal, limit=limit)
            for each in followed
        ]
        counts.append(max(solution.iterations for solution in solutions))
        damped.append(max(solution.damped_iterations for solution in solutions))
        converged.append(all(solution.converged for solution in solutions))
        error = max(
            float((solution.states - each.states[:length]).abs().max())
            for solution, each in zip(solutions, followed, strict=True)
        )
    return Iterations(tuple(counts), tuple(damped), tuple(converged)), error
