"""Profiles of cells, from what autograd sent to each of their states."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

from unrolled.cells.own import paths_of
from unrolled.gradients.graph import Contribution, Gradients
from unrolled.gradients.profile import Profile
from unrolled.rollout.nonfinite import check_norms
from unrolled.rollout.record import RecordedRun
from unrolled.rollout.scaled import Scaled, log2

# Between these powers of two every norm that autograd finds is right: the entries that make it up are far from the
# ends of the dtype's range. What leaves them is gone through again in shorter blocks.
SAFE = {
    torch.float64: (-900, 900),
    torch.float32: (-100, 100),
    torch.bfloat16: (-100, 100),
    torch.float16: (-10, 14),
}


class OutOfRangeError(Exception):
    """A block of steps of a cell is too long: what autograd sent back left the range of the dtype."""


def cell_profiles(run: RecordedRun, gradients: Gradients, steps_per_block: int) -> list[Profile]:
    """The profiles of a cell's run, one for each part of its state.

    Raises `OutOfRangeError` where shorter blocks may help, and `NonFiniteError` where a
    single step overflows.
    """
    target = run.target
    labels = {
        "module": target.name,
        "call": run.number,
        "layer": target.layer,
        "direction": target.direction,
    }
    profiles = []
    for number, path in enumerate(paths_of(len(run.values[0]))):
        states = [parts[number] for parts in run.values]
        if not states[0].is_floating_point():
            continue
        places = [parts[number] for parts in run.places]
        found = [() if place is None else gradients.places[place] for place in places]
        if not run.places:  # it ran without gradients
            found = [()] * len(states)
        profiles.append(
            Profile.of({**labels, "path": path}, _log2_norms(found, states[0], steps_per_block, target.name))
        )
    return profiles


def _log2_norms(
    found: Sequence[Sequence[Contribution]], like: Tensor, steps_per_block: int, name: str
) -> Tensor:
    """`(T, B)` float64: of the sums of all contributions to the gradients of the states after each step."""
    zero = torch.zeros_like(like)
    rows = torch.stack([_rows(parts[0][0] if parts else zero) for parts in found])
    exponents = torch.tensor([parts[0][1] if parts else 0 for parts in found], device=like.device)
    norms = torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)
    _check(norms, like.dtype, steps_per_block, name)
    total = log2(norms, exponents.unsqueeze(-1))
    for step, parts in enumerate(found):  # only where a state was reached in several ways
        if len(parts) > 1:
            each = [Scaled.of(_rows(gradient), 1).scale(1.0, exponent) for gradient, exponent in parts]
            total[step] = reduce(add, each).log2_norm()
    return total


def _rows(gradient: Tensor) -> Tensor:
    """`(B, H)`, whatever the shape of a state; `(1, H)` without a batch."""
    return gradient.flatten(1) if gradient.dim() > 1 else gradient.reshape(1, -1)


def _check(norms: Tensor, dtype: torch.dtype, steps_per_block: int, name: str) -> None:
    """Raise where norms `(T, B)` are not to be relied on."""
    low, high = (2.0**power for power in SAFE[dtype])
    finite = torch.isfinite(norms)
    if steps_per_block == 1:
        check_norms(norms, name)
        return
    outside = ~finite | (norms > high) | ((norms < low) & (norms > 0))
    # A zero may be one: behind a mask, or a relu. Not so next to a norm that is itself about to leave the range.
    vanished = (norms[:-1] == 0) & (norms[1:] > 0) & (norms[1:] < low**0.5)
    if bool(outside.any()) or bool(vanished.any()):
        raise OutOfRangeError
