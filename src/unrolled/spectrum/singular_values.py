"""Singular values of Jacobians over many steps: what each direction keeps of a change made k steps ago."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from unrolled.environment import Environment
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.observed.observe import observe
from unrolled.observed.trajectory import Trajectory
from unrolled.rollout.preserve import preserving
from unrolled.rollout.targets import Cells
from unrolled.spectrum.graded import log_singular_values
from unrolled.spectrum.lyapunov import TANGENT_NUMBERS
from unrolled.spectrum.progress import Progress, reporting
from unrolled.spectrum.singular_record import JacobianSingularValues, SingularValues
from unrolled.spectrum.tangents import Tangents, random_directions

LN_10 = float(np.log(10))


@torch.no_grad()
@preserving
def jacobian_singular_values(
    module: nn.Module,
    inputs: Any,
    lags: Sequence[int],
    *,
    state: Any = None,
    progress: Progress = False,
    cells: Cells = (),
) -> JacobianSingularValues:
    """The singular values of `∂s_T/∂s_{T-k}`, T the last step of `inputs`, for every lag k, in the log domain.

    Model, inputs, state and systems are those of `lyapunov_spectrum`. The product of Jacobians is never formed: it is
    factorised on the way into an orthogonal and a triangular matrix, the latter kept by the logarithms of its rows'
    sizes, from which the singular values come to full relative accuracy. So one of 10^-3000 beside one of 10^100 is
    reported as such; -inf stands for exactly 0.

    The cost is that of as many steps as the lags add up to, each with all directions: choose them in geometric
    progression, `[1, 2, 5, 10, 20, 50, 100]`.

    Raises `InvalidValueError` or `InvalidTypeError` for what cannot be run, `NonFiniteError` where the network itself
    produces NaN or inf.
    """
    calls = observe(module, inputs, state, cells)
    lags_of = [check_lags(lags, call.steps) for call in calls]
    parts: list[SingularValues] = []
    total = sum(call.steps * call.count for call in calls)
    with reporting(progress, total, "singular values") as tick:
        for call, numbers in zip(calls, lags_of, strict=True):
            together = max(1, TANGENT_NUMBERS // call.widest**2)
            batches = [numbers[first : first + together] for first in range(0, len(numbers), together)]
            groups = [
                [
                    part
                    for trajectory in group.trajectories()
                    for part in _of_trajectory(
                        trajectory, batches, tick, group.batch / call.batch / len(batches)
                    )
                ]
                for group in call.split(call.widest**2 * len(batches[0]), TANGENT_NUMBERS)
            ]
            parts += [SingularValues.joined(samples) for samples in zip(*groups, strict=True)]
    return JacobianSingularValues(
        tuple(parts),
        {call.name: call.facts() for call in calls},
        tuple(note for call in calls for note in call.notes),
        Environment.without_load(),
    )


def _of_trajectory(
    trajectory: Trajectory, batches: Sequence[Sequence[int]], tick: Callable[[float], None], share: float
) -> list[SingularValues]:
    """All lags, in batches that fit into memory; each runs through the trajectory once."""
    by_batch = [singular_values_along(trajectory, lags, tick, share) for lags in batches]
    lags = np.concatenate(batches).astype(np.int64)
    return [
        SingularValues(system, lags, np.concatenate(log10))
        for system, *log10 in zip(trajectory.systems, *by_batch, strict=True)
    ]


def singular_values_along(
    trajectory: Trajectory, lags: Sequence[int], tick: Callable[[float], None], share: float = 1.0
) -> list[np.ndarray]:
    """log10 of the singular values `(lags, B, n)` of each system of a trajectory, for increasing lags.

    Calls `tick` with `share` of the number of steps done.
    """
    tangents = [
        Tangents(
            system,
            random_directions(system.size, system.size, trajectory.like),
            trajectory.batch,
            graded=True,
            multiple=trajectory.multiple,
        )
        for system in trajectory.systems
    ]
    starts = [trajectory.steps - lag for lag in lags]
    begin = min(starts)
    tick(share * begin)
    for block in trajectory.blocks(begin):
        end, now = block.start + block.steps, max(block.start, begin)
        steps = end - now
        for stop in sorted({end, *(start for start in starts if now <= start < end)}):
            for sets, push in zip(tangents, block.pushes, strict=True):
                if stop > now:
                    sets.advance(push, now - block.start, stop - block.start, block.start)
                if stop in starts and stop < end:
                    sets.add_set()
            now = stop
        tick(share * steps)
    return [_log10(sets) for sets in tangents]


def _log10(tangents: Tangents) -> np.ndarray:
    logs = log_singular_values(tangents.product()).flip(1)  # (B, lags, n): the longest lag was added first
    result: np.ndarray = logs.transpose(0, 1).numpy() / LN_10
    return result


def check_lags(lags: Sequence[int] | np.ndarray, steps: int) -> list[int]:
    """The lags, increasing and within the sequence. Raises `InvalidValueError` or `InvalidTypeError`."""
    given: Any = lags.tolist() if isinstance(lags, np.ndarray) else lags
    if not isinstance(given, list | tuple | range):
        raise InvalidTypeError(f"lags: expected a list of steps, got {given!r}; try [1, 10, 100]")
    numbers: list[Any] = [int(lag) if isinstance(lag, np.integer) else lag for lag in given]
    if not numbers:
        raise InvalidValueError("lags: expected at least one, got none; try [1, 10, 100]")
    for lag in numbers:
        if isinstance(lag, bool) or not isinstance(lag, int):
            raise InvalidTypeError(f"lags: expected whole numbers of steps, got {lag!r}; try [1, 10, 100]")
        if not 1 <= lag <= steps:
            raise InvalidValueError(
                f"lags: expected 1 to {steps}, the steps of the input, got {lag}; pass a longer sequence or a shorter "
                "lag"
            )
    if any(after <= before for before, after in pairwise(numbers)):
        shown = ", ".join(map(str, numbers))
        raise InvalidValueError(f"lags: expected increasing numbers, got {shown}; sort them, each once")
    return numbers
