"""Lyapunov exponents: how fast each direction in a network's state grows or shrinks along its trajectory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.rollout.preserve import preserving
from unrolled.rollout.targets import Cells
from unrolled.spectrum.codec import environment
from unrolled.spectrum.frames import random_directions
from unrolled.spectrum.lyapunov_record import Exponents, LyapunovSpectrum
from unrolled.spectrum.observed import observe
from unrolled.spectrum.progress import Progress, following
from unrolled.spectrum.trajectory import Trajectory
from unrolled.spectrum.two_sided import Ends, NotInvertibleError

# How many times the running estimate is looked at, and no more often than every so many steps: a look
# costs as much as several steps.
LOOKS, LOOK_STEPS = 32, 50
# Numbers in the frames of the samples that are followed together: 32 MB in each of a few buffers.
FRAME_NUMBERS = 2**22


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

    `module` is an `nn.RNN`, `nn.GRU` or `nn.LSTM`, or a model that contains some; `inputs` is what it takes
    (a tuple for several arguments), `state` an initial state passed on after them. Every layer and
    direction is a system with its state `h`, or `(h, c)` for an LSTM; the layers of a module that is not
    bidirectional are one more, the `stack`. Each sample of a batch has a spectrum of its own; a system
    smaller than k has all of its exponents. The first `warm_up` steps turn the directions but do not count.

    Exponents are means of `ln |R_ii|`, R from QR factorisations of the pushed tangents (Benettin et al.
    1980; for recurrent networks Engelken, Wolf, Abbott 2023). With `qr_every="auto"` tangents are
    refactorised as often as the digits that are seen to be lost ask for, which gives the exponents of QR
    at every step to 1e-6 (apart from close neighbours far down a very wide spectrum, which rounding mixes in
    either); a number asks for QR after every so many steps, or fewer where those would lose too many digits.
    A direction that is lost for good, as behind a dead relu, has -inf. The trajectory is the module's own, in
    its dtype; tangents are float64. Memory does not grow with the length, but for a bidirectional module of
    several layers.

    `progress` is True for a line on standard error, or a function of the steps done and of all steps.

    Raises `InvalidValueError` or `InvalidTypeError` for what cannot be run, `NonFiniteError` where the
    network itself produces NaN or inf.
    """
    check_options(warm_up, qr_every)
    found = observe(module, inputs, state, cells)
    for call in found:
        check_length(call.steps, warm_up)
        check_k(k, call.widest)
    parts: list[Exponents] = []
    with following(progress, sum(call.steps * call.count for call in found), "Lyapunov exponents") as tick:
        for call in found:
            numbers = call.widest * min(k or call.widest, call.widest)
            by_group = []
            for group in call.split(numbers, FRAME_NUMBERS):
                share = group.batch / call.batch
                by_group.append(
                    [
                        part
                        for trajectory in group.trajectories()
                        for part in follow(trajectory, k, warm_up, qr_every, tick, share)
                    ]
                )
            parts += [Exponents.joined(group) for group in zip(*by_group, strict=True)]
    return LyapunovSpectrum(
        tuple(parts),
        {call.name: call.facts() for call in found},
        tuple(note for call in found for note in call.notes),
        environment(),
    )


def follow(
    trajectory: Trajectory,
    k: int | None,
    warm_up: int,
    qr_every: int | str,
    tick: Callable[[float], None],
    share: float = 1.0,
) -> list[Exponents]:
    """The exponents of each system of a trajectory; `tick` is told of `share` of every step."""
    told = 0.0

    def told_once(steps: float) -> None:
        nonlocal told
        told += steps
        tick(share * steps)

    try:
        return _follow(trajectory, k, warm_up, qr_every, told_once, both=True)
    except NotInvertibleError:
        tick(-share * told)
        return _follow(trajectory, k, warm_up, qr_every, lambda steps: tick(share * steps), both=False)


def _follow(
    trajectory: Trajectory,
    k: int | None,
    warm_up: int,
    qr_every: int | str,
    tick: Callable[[float], None],
    both: bool,
) -> list[Exponents]:
    every = []
    for system in trajectory.systems:
        start = random_directions(system.size, min(k or system.size, system.size), trajectory.like)
        lower = trajectory.lower if both else 0.0
        every.append(Ends(system, start, trajectory.batch, qr_every, lower, warm_up > 0, trajectory.multiple))
    looks = warm_up + _looks(trajectory.steps - warm_up)
    found: list[list[np.ndarray]] = [[] for _ in every]
    for block in trajectory.blocks(0):
        end, now = block.start + block.steps, block.start
        pushes = [ends.pushes(push) for ends, push in zip(every, block.pushes, strict=True)]
        stops = {end, *(int(look) for look in looks if now < look <= end), *[warm_up] * (now < warm_up <= end)}
        for stop in sorted(stops):
            for ends, pairs, estimates in zip(every, pushes, found, strict=True):
                for frames, push in zip(ends.frames, pairs, strict=True):
                    frames.advance(push, now - block.start, stop - block.start, block.start)
                if stop == warm_up:
                    ends.orthogonalise()
                if stop in looks:
                    estimates.append(ends.read() / (stop - warm_up))
            now = stop
        tick(block.steps)
    return [
        Exponents(ends.system, ordered[-1], looks - warm_up, ordered, warm_up, qr_every, ends.every)
        for ends, ordered in zip(every, map(_ordered, found), strict=True)
    ]


def _ordered(estimates: list[np.ndarray]) -> np.ndarray:
    """`(R, B, k)`, from the largest down."""
    result: np.ndarray = np.flip(np.sort(np.stack(estimates), axis=-1), axis=-1)
    return result


def _looks(steps: int) -> np.ndarray:
    """After how many steps the running estimate is looked at; the last is all of them."""
    count = max(1, min(LOOKS, steps // LOOK_STEPS))
    result: np.ndarray = np.linspace(0, steps, count + 1)[1:].round().astype(np.int64)
    return result


def check_options(warm_up: int, qr_every: int | str) -> None:
    """Raise unless the options are some."""
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
    """Raise unless steps are left to take a mean over."""
    if steps - warm_up < 2:
        after = f" after {warm_up} of warm-up" * (warm_up > 0)
        raise InvalidValueError(
            f"inputs: expected at least 2 steps{after}, got T = {steps}, too few for a rate; pass a "
            "longer sequence"
        )


def check_k(k: int | None, size: int) -> None:
    """Raise unless the largest system has k exponents."""
    if k is None:
        return
    if isinstance(k, bool) or not isinstance(k, int):
        raise InvalidTypeError(f"k: expected a number of exponents, got {k!r}; leave it out for all")
    if not 1 <= k <= size:
        raise InvalidValueError(
            f"k: expected 1 to {size}, the numbers in the state, got {k}; leave it out for all exponents"
        )
