"""Newton's method on `s_t - f(s_{t-1}, x_t) = 0` for all t at once (DEER: Lim et al. 2024, ICLR).

An iteration linearises all steps about the present guess and solves the linear recurrence that this gives by a scan:

    r_t = f(s_{t-1}, x_t) - s_t        d_t = J_t d_{t-1} + r_t        s_t <- s_t + d_t

The first guess is 0. With only the diagonals of `J_t` it is quasi-DEER (Gonzalez et al. 2024, NeurIPS), whose scan is
cheap and whose iterations are more.

Where an update does not lower the largest residual, the next starts over from 0 behind what is exact by then,
and from there on all are damped, as by a trust region: what the linear recurrence carries into a state, `J_t d_{t-1}`,
is scaled down to the size of the largest state that a step from 0 leads to, or 1.

Either way step t is exact after t iterations at most: where all before it is, `d_{t-1}` is 0 and `s_t` becomes
`f(s_{t-1}, x_t)`, whatever the Jacobian. So what is exact at the beginning is left out from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.newton import scan
from unrolled.newton.recurrence import Recurrence

# An iteration diverges where an update does not lower the largest residual, above this share of the size of states;
# below it that is rounding.
ROUNDED = 1e-6
# Times that size: what no step can be worked out from, damped or not.
FARTHEST = 1e100
# Residuals of a step that is exact: some roundings of what it adds up, times the size of a state.
ROUNDINGS = 64


@dataclass(frozen=True)
class Iterate:
    """A guess `(T, B, S)` after some updates, its largest residual, and how many states the last update damped.

    `exact` says that all its residuals are rounding alone.
    """

    number: int
    states: Tensor
    residual: float
    damped: int
    exact: bool


@dataclass(frozen=True)
class Solution:
    """What the iteration ended with: `residuals` and `damped` of every iterate, the first guess included."""

    states: Tensor
    residuals: tuple[float, ...]
    damped: tuple[int, ...]
    converged: bool

    @property
    def iterations(self) -> int:
        """K, the number of updates."""
        return len(self.residuals) - 1

    @property
    def damped_iterations(self) -> int:
        """How many of them damped some state."""
        return sum(count > 0 for count in self.damped)


@torch.no_grad()
def iterates(recurrence: Recurrence, first: Tensor, diagonal: bool = False) -> Iterator[Iterate]:
    """The first guess, 0, and every guess after it, without end; the states are written over by the next.

    `first` `(B, S)` is the state before the first step.
    """
    states = first.new_zeros(recurrence.steps, *first.shape)
    start, number, damped = 0, 0, 0  # the steps before `start` are exact
    last, diverges, radius = torch.inf, False, 0.0
    while True:
        window = recurrence.part(start)
        before = torch.cat(((states[start - 1] if start else first).unsqueeze(0), states[start:-1]))
        after = window.apply(before)
        rest = after - states[start:]
        sizes = rest.abs().amax((1, 2))
        residual = float(sizes.max().nan_to_num(torch.inf))
        skipped = _exact(sizes, after)
        yield Iterate(number, states, residual, damped, skipped == len(rest))
        if number == 0:
            radius = max(1.0, residual)
        starts_over = not diverges and residual > max(last, ROUNDED * radius)
        diverges, last = diverges or starts_over, residual
        if starts_over:
            damped = len(rest) - skipped
            states[start + skipped :] = 0
            states[start + skipped : start + skipped + 1] = after[skipped : skipped + 1]
        elif skipped < len(rest):
            cut = slice(skipped, None)
            carried = _carried(window.part(skipped), before[cut], after[cut], rest[cut], diagonal)
            carried, damped = _damped(carried, radius, diverges)
            states[start + skipped :] = after[cut] + carried
        # The first of the rest is now what follows from an exact state.
        start, number = min(start + skipped + 1, len(states) - 1), number + 1


def _damped(carried: Tensor, radius: float, diverges: bool) -> tuple[Tensor, int]:
    """What the linear recurrence carries, as far as it is trusted, and in how many states that is less."""
    sizes = carried.abs().amax(-1, keepdim=True)
    lost = ~(sizes <= FARTHEST * radius)
    far = (sizes > radius) & ~lost if diverges else torch.zeros_like(lost)
    changed = int((lost | far).sum())
    if not changed:
        return carried, 0
    return torch.where(lost, 0.0, torch.where(far, carried * (radius / sizes), carried)), changed


def _carried(window: Recurrence, before: Tensor, after: Tensor, rest: Tensor, diagonal: bool) -> Tensor:
    """`J_t d_{t-1}`, by which the linear recurrence corrects `f(s_{t-1}, x_t)`."""
    if diagonal:
        return scan.elementwise(window.diagonals(before, after), rest) - rest
    return scan.full(window.jacobians(before, after), rest) - rest


def _exact(sizes: Tensor, after: Tensor) -> int:
    """The number of steps at the beginning whose residuals are rounding alone."""
    scale = after.abs().amax((1, 2)).clamp(min=1.0)
    off = sizes > ROUNDINGS * torch.finfo(after.dtype).eps * scale
    off |= ~torch.isfinite(sizes)
    return int(off.to(torch.int8).argmax()) if bool(off.any()) else len(sizes)


def solve(
    recurrence: Recurrence,
    first: Tensor,
    tolerance: float,
    *,
    diagonal: bool = False,
    limit: int | None = None,
) -> Solution:
    """Iterate until `max |s_t - f(s_{t-1}, x_t)|` is at most `tolerance`, or as small as rounding lets it be.

    It gives up after `limit` iterations, T by default.
    """
    most = recurrence.steps if limit is None else min(limit, recurrence.steps)
    residuals, damped = [], []
    for guess in iterates(recurrence, first, diagonal):
        residuals.append(guess.residual)
        damped.append(guess.damped)
        converged = guess.residual <= tolerance or guess.exact
        if converged or guess.number == most:
            return Solution(guess.states, tuple(residuals), tuple(damped), converged)
    raise AssertionError("an iteration without end has ended")
