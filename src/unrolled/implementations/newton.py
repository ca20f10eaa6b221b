"""`newton`: all steps at once by Newton's method, where a loop goes from one to the next.

Forward, each iteration linearises all steps about a guess and solves the linear recurrence by a scan over time, until
the guess is a trajectory to rounding (DEER: Lim et al. 2024). Backward, the cotangents of all states follow from one
scan in reverse with the Jacobians of that trajectory, and the gradients of inputs and weights from all steps as one
batch; they are exact. It pays where iterations are few, states small, sequences long and processors many; where a layer
does not converge it is run step by step, and a warning says so.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells import cell_of
from unrolled.cells.cell import State
from unrolled.errors import ImplementationError
from unrolled.implementations.loop import Loop
from unrolled.newton import scan
from unrolled.newton.recurrence import LayerRecurrence, in_a_row
from unrolled.newton.solve import ROUNDINGS, solve

MOST_ITERATIONS = 100  # each takes some hundred operations; what needs more is chaotic or nearly so


class Newton(Loop):
    """`iterations` of the last call: K of each layer and direction, in the order in which they run.

    Of packed sequences there is one for each run of steps. None stands for one that did not converge.
    """

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__(reference)
        self.iterations: tuple[int | None, ...] = ()
        self.warned = False

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Tensor | State]:
        """As the reference."""
        self.iterations = ()
        return super().forward(input, hx)

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One layer and direction over `x` `(T, B, I)`: solved without a graph, then one batch of all steps with it."""
        recurrence = LayerRecurrence(cell_of(self.reference), self.layers[k], x)
        first = torch.cat(state, dim=-1)
        states = self._solved(recurrence, first)
        before = torch.cat((first.unsqueeze(0), states[:-1]))
        after = recurrence.apply(before)
        if after.requires_grad:
            hook: Any = after.register_hook
            known = (recurrence.detached(), before.detach(), after.detach())  # no circle of references
            hook(lambda cotangent: _total(*known, cotangent))
        parts = after.split_with_sizes(recurrence.sizes, dim=-1)
        return parts[0], tuple(part[-1] for part in parts)

    @torch.no_grad()
    def _solved(self, recurrence: LayerRecurrence, first: Tensor) -> Tensor:
        tolerance = ROUNDINGS * torch.finfo(first.dtype).eps
        solution = solve(recurrence, first, tolerance, limit=MOST_ITERATIONS)
        self.iterations += (solution.iterations if solution.converged else None,)
        if solution.converged:
            return solution.states
        if not self.warned:
            self.warned = True
            warnings.warn(
                f"newton: expected a trajectory within {solution.iterations} iterations, got a residual of "
                f"{solution.residuals[-1]:.2g} over {recurrence.steps} steps; this layer is run step by step",
                stacklevel=2,
            )
        return in_a_row(recurrence, first)


def _total(recurrence: LayerRecurrence, before: Tensor, after: Tensor, cotangent: Tensor) -> Tensor:
    """`s̄_t + J_{t+1}ᵀ s̄_{t+1}'` for all t: cotangents `(T, B, S)` by way of all later states, too.

    Raises `ImplementationError` where a graph of the gradients is asked for.
    """
    if torch.is_grad_enabled():
        raise ImplementationError(
            "newton: expected a backward pass without create_graph=True, since its gradients have no gradients; "
            "take the fused module where a gradient is differentiated again"
        )
    jacobians = recurrence.jacobians(before, after)
    # The Jacobian of step t + 1 carries the cotangent of state t + 1 to state t; the first has nothing to act on.
    carries = torch.cat((jacobians[:1], jacobians.flip(0)[:-1])).transpose(-1, -2)
    return scan.full(carries, cotangent.flip(0)).flip(0)


def build(reference: nn.RNNBase) -> nn.Module:
    """Newton's method with the parameters of `reference`."""
    return Newton(reference)
