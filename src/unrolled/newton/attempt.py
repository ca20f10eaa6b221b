"""Newton's method tried for a few iterations, beside a diagnosis that is about something else."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.newton.solve import solve
from unrolled.newton.systems import systems_of
from unrolled.observed.system import System
from unrolled.plugins import THEIRS
from unrolled.results.codec import Count, Size, require
from unrolled.rollout.preserve import preserved
from unrolled.rollout.targets import Cells

TENTH = 10  # a recurrence is parallel over time where K is at most this part of T
TOLERANCE = 1e-8
STEPS, FEWEST = 200, 50  # T that is tried at most and at least
OPERATIONS = 2e10  # of all iterations together, which is a few seconds
WEIGHTS = 2 * 10**7  # of a model that is copied in float64 for this: 160 MB

Place = tuple[str, int, int | None, str]  # module, call, layer, direction


@dataclass(frozen=True)
class Attempt:
    """One layer and direction over its first `steps`: `iterations` from a first guess of 0, or given up at a tenth."""

    system: System
    steps: Size
    iterations: Count
    converged: bool

    def check(self) -> None:
        """Raise `ValueError` for what is not tried."""
        most = self.steps // TENTH
        require(FEWEST <= self.steps <= STEPS, f"{FEWEST} to {STEPS} steps that were tried")
        require(self.iterations <= most, "iterations of at most a tenth of the steps")
        require(
            self.converged or self.iterations == most, "as many iterations as are tried before it is given up"
        )


def check_attempts(attempts: Sequence[Attempt], steps: Mapping[Place, int]) -> None:
    """Raise `ValueError` unless each is of another layer and direction, of those with so many steps."""
    places = [place_of(attempt.system) for attempt in attempts]
    require(len(set(places)) == len(places), "one attempt for each layer and direction")
    for place, attempt in zip(places, attempts, strict=True):
        require(attempt.steps <= steps.get(place, 0), "an attempt over steps that there are")


def place_of(system: System) -> Place:
    """Where in a model it is."""
    return system.module, system.call, system.layer, system.direction


def worst(attempts: Iterable[Attempt]) -> Attempt | None:
    """The one that took most, any that was given up before all that converged; None where there is none."""
    return max(attempts, key=lambda attempt: (not attempt.converged, attempt.iterations), default=None)


def in_words(attempt: Attempt | None) -> str:
    """`yes, 4`, `no`, or nothing where it was not tried."""
    if attempt is None:
        return ""
    return f"yes, {attempt.iterations}" if attempt.converged else "no"


@torch.no_grad()
def attempt_all(module: nn.Module, inputs: Any, state: Any = None, cells: Cells = ()) -> tuple[Attempt, ...]:
    """All layers and directions, in the first sample, over up to 200 steps, in float64 and on a copy.

    None of a network of fewer than 50 steps, or of so large a state, or so many weights, that `unrolled.parallel`
    should be asked for, and none where it cannot be run in this way: a diagnosis does not fail for that.
    """
    found: list[Attempt] = []
    if sum(weight.numel() for weight in module.parameters()) > WEIGHTS:
        return ()
    with preserved(module):
        try:
            wide = copy.deepcopy(module).double()
            for each in systems_of(wide, double(inputs), double(state), cells):
                steps = _affordable(each.recurrence.steps, each.recurrence.size)
                if steps >= FEWEST:
                    window = each.recurrence.part(0, steps).sample(0)
                    solution = solve(window, each.first[:1], TOLERANCE, limit=steps // TENTH)
                    found.append(Attempt(each.system, steps, solution.iterations, solution.converged))
        except THEIRS:  # somebody else’s module, in whatever way
            return ()
    return tuple(found)


def _affordable(steps: int, size: int) -> int:
    """As many of the steps as a tenth as many iterations take few enough operations for: two products a step."""
    return min(steps, STEPS, int((OPERATIONS * TENTH / (4 * size**3)) ** 0.5))


def double(value: Any) -> Any:
    """Floating numbers in float64, in tuples too; all else as it is."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if type(value) is tuple:
        return tuple(map(double, value))
    return value
