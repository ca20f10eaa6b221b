"""Lyapunov exponents: how fast each direction in a network's state grows or shrinks along its trajectory."""

from __future__ import annotations

from collections.abc import Callable
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
from unrolled.spectrum.lyapunov_record import Exponents, LyapunovSpectrum
from unrolled.spectrum.progress import Progress, reporting
from unrolled.spectrum.tangents import random_directions
from unrolled.spectrum.two_sided import NotInvertibleError, TwoSided

# How many running estimates are taken, and the fewest steps from one to the next: each costs as much as several steps.
ESTIMATES, ESTIMATE_STEPS = 32, 50
# Numbers in the tangents of the samples that are followed together: 32 MB in each of a few buffers.
TANGENT_NUMBERS = 2**22


@torch.no_grad()
@preserving
def lyapunov_spectrum(
    module: nn.Module,
    inputs: Any,
    *,
    k: int | None = None,
    state: Any = None,
    warm_up: int = 0,
    qr_every: int | str = "auto",
    progress: Progress = False,
    cells: Cells = (),
) -> LyapunovSpectrum:
    """The `k` largest Lyapunov exponents (all by default) along the trajectory of `inputs`, in nats per step.

    `module` is an `nn.RNN`, `nn.GRU` or `nn.LSTM`, or a model that contains some; `inputs` is what it takes (a tuple
    for several arguments), `state` an initial state passed on after them. Every layer and direction is a system with
    its state `h`, or `(h, c)` for an LSTM; the layers of a module that is not bidirectional are one more, the `stack`.
    Each sample of a batch has a spectrum of its own; a system smaller than k has all of its exponents. The first
    `warm_up` steps turn the directions but do not count.

    Exponents are means of `ln |R_ii|`, R from QR factorisations of the pushed tangents (Benettin et al. 1980; for
    recurrent networks Engelken, Wolf, Abbott 2023). With `qr_every="auto"` tangents are factorised as often as the loss
    of digits that is measured asks for, which gives the exponents of QR at every step to 1e-6 (apart from close
    neighbours far down a very wide spectrum, which rounding mixes either way); a number asks for QR after that many
    steps, or fewer where those would lose too many digits. A direction that is lost for good, as behind a dead relu,
    has -inf. The trajectory is the module's own, in its dtype; tangents are float64. Memory does not grow with the
    length, but for a bidirectional module of several layers.

    `progress` is True for a line on standard error, or a function of the steps done and of all steps.

    Raises `InvalidValueError` or `InvalidTypeError` for what cannot be run, `NonFiniteError` where the network itself
    produces NaN or inf.
    """
    check_options(warm_up, qr_every)
    calls = observe(module, inputs, state, cells)
    for call in calls:
        check_length(call.steps, warm_up)
        check_k(k, call.widest)
    parts: list[Exponents] = []
    with reporting(progress, sum(call.steps * call.count for call in calls), "Lyapunov exponents") as tick:
        for call in calls:
            numbers = call.widest * min(k or call.widest, call.widest)
            groups = [
                [
                    part
                    for trajectory in group.trajectories()
                    for part in exponents_along(
                        trajectory, k, warm_up, qr_every, tick, group.batch / call.batch
                    )
                ]
                for group in call.split(numbers, TANGENT_NUMBERS)
            ]
            parts += [Exponents.joined(samples) for samples in zip(*groups, strict=True)]
    return LyapunovSpectrum(
        tuple(parts),
        {call.name: call.facts() for call in calls},
        tuple(note for call in calls for note in call.notes),
        Environment.without_load(),
    )


def exponents_along(
    trajectory: Trajectory,
    k: int | None,
    warm_up: int,
    qr_every: int | str,
    tick: Callable[[float], None],
    share: float = 1.0,
) -> list[Exponents]:
    """The exponents of each system of a trajectory; calls `tick` with `share` of the number of steps done."""
    done = 0.0

    def count(steps: float) -> None:
        nonlocal done
        done += steps
        tick(share * steps)

    try:
        return _follow(trajectory, k, warm_up, qr_every, count, trajectory.lower)
    except NotInvertibleError:
        count(-done)
        return _follow(trajectory, k, warm_up, qr_every, count, lower=0.0)


def _follow(
    trajectory: Trajectory,
    k: int | None,
    warm_up: int,
    qr_every: int | str,
    tick: Callable[[float], None],
    lower: float,
) -> list[Exponents]:
    spectra = []
    for system in trajectory.systems:
        start = random_directions(system.size, min(k or system.size, system.size), trajectory.like)
        spectra.append(
            TwoSided(system, start, trajectory.batch, qr_every, lower, warm_up > 0, trajectory.multiple)
        )
    times = _estimate_times(trajectory.steps - warm_up)
    marks = {warm_up, *(warm_up + times).tolist()}
    estimates: list[list[np.ndarray]] = [[] for _ in spectra]
    for block in trajectory.blocks(0):
        end, now = block.start + block.steps, block.start
        pushes = [spectrum.pushes(steps) for spectrum, steps in zip(spectra, block.pushes, strict=True)]
        for stop in sorted({end, *(mark for mark in marks if now < mark <= end)}):
            for spectrum, side_pushes, taken in zip(spectra, pushes, estimates, strict=True):
                for side, push in zip(spectrum.sides, side_pushes, strict=True):
                    side.advance(push, now - block.start, stop - block.start, block.start)
                if stop == warm_up:
                    spectrum.orthonormalise()
                elif stop in marks:
                    taken.append(spectrum.read() / (stop - warm_up))
            now = stop
        tick(block.steps)
    falling = [np.flip(np.sort(np.stack(taken), axis=-1), axis=-1) for taken in estimates]  # (R, B, k) each
    return [
        Exponents(spectrum.system, running[-1], times, running, warm_up, qr_every, spectrum.mean_interval)
        for spectrum, running in zip(spectra, falling, strict=True)
    ]


def _estimate_times(steps: int) -> np.ndarray:
    """The numbers of steps, `(R,)`, after which running estimates are taken; the last is all of them."""
    count = max(1, min(ESTIMATES, steps // ESTIMATE_STEPS))
    times: np.ndarray = np.linspace(0, steps, count + 1)[1:].round().astype(np.int64)
    return times


def check_options(warm_up: int, qr_every: int | str) -> None:
    """Raise unless `warm_up` is a number of steps from 0 on, and `qr_every` is "auto" or one from 1 on."""
    if isinstance(warm_up, bool) or not isinstance(warm_up, int):
        raise InvalidTypeError(f"warm_up: expected a number of steps, got {warm_up!r}; 0 leaves none out")
    if warm_up < 0:
        raise InvalidValueError(f"warm_up: expected a number of at least 0, got {warm_up}; 0 leaves none out")
    if qr_every == "auto":
        return
    if isinstance(qr_every, bool) or not isinstance(qr_every, int):
        raise InvalidTypeError(f"qr_every: expected 'auto' or a number, got {qr_every!r}; leave it out")
    if qr_every < 1:
        raise InvalidValueError(f"qr_every: expected 'auto' or at least 1, got {qr_every}; leave it out")


def check_length(steps: int, warm_up: int) -> None:
    """Raise unless at least two steps are left to take a mean over."""
    if steps - warm_up < 2:
        after = f" after {warm_up} of warm-up" if warm_up > 0 else ""
        raise InvalidValueError(
            f"inputs: expected at least 2 steps{after}, got T = {steps}, too few for a rate; pass a longer sequence"
        )


def check_k(k: int | None, size: int) -> None:
    """Raise unless k is None or a number up to `size`, the entries in the state of the largest system."""
    if k is None:
        return
    if isinstance(k, bool) or not isinstance(k, int):
        raise InvalidTypeError(f"k: expected a number of exponents, got {k!r}; leave it out for all")
    if not 1 <= k <= size:
        raise InvalidValueError(
            f"k: expected 1 to {size}, the numbers in the state, got {k}; leave it out for all exponents"
        )
