"""A block of steps of a cell, pulled back through by autograd at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from unrolled.gradients.graph import Contribution, Gradients
from unrolled.gradients.pullback import StepBound
from unrolled.rollout.record import Block
from unrolled.rollout.scaled import Scaled, total, working_dtype

Root = tuple[Tensor, list[Contribution]]  # a tensor that a call gave, and what has come to it


def pull_back_block(
    block: Block, gradients: Gradients, parameters: Sequence[Tensor], bound: StepBound | None
) -> None:
    """Add the gradients that flow back through a block: to its states, its inputs, and the parameters.

    `bound` is put on the state's cotangent; the block then has one step.
    """
    # Alike in place and shape, so that they can be stacked.
    groups: dict[tuple[int, torch.Size], list[Root]] = {}
    for sources, leaves in zip(block.sources, block.leaves, strict=True):
        for position, (source, leaf) in enumerate(zip(sources, leaves, strict=True)):
            contributions = gradients.leaves.pop(leaf)
            if contributions:
                groups.setdefault((position, source.shape), []).append((source, contributions))
    if not groups:
        return
    roots = [source for group in groups.values() for source, _ in group]
    cotangents: list[Scaled | None] = [_stacked(group) for group in groups.values()]
    if bound is not None:
        of_state = sum(position < block.parts for position, _ in groups)  # they come first
        cotangents = [*bound.put_on(cotangents[:of_state]), *cotangents[of_state:]]
    to: list[Tensor | GradientEdge] = [*block.places, *block.upstream, *parameters]
    gradients.through(roots, [part for part in cotangents if part is not None], to)


def _stacked(group: Sequence[Root]) -> Scaled:
    """`(n, B, ...)`: what has come to n tensors, with an exponent for each of them and each sample."""
    first = group[0][0]
    samples = first.shape[:1] if first.dim() > 1 else ()
    dtype = working_dtype(first.dtype)
    if all(len(contributions) == 1 for _, contributions in group):
        mantissa = torch.stack([contributions[0][0] for _, contributions in group]).to(dtype)
        exponents = torch.tensor([contributions[0][1] for _, contributions in group], device=first.device)
        return Scaled(mantissa, exponents.reshape(-1, *[1] * len(samples)).expand(-1, *samples))
    sums = []
    for _, contributions in group:
        parts = [Scaled.of(gradient, len(samples)).scale(1.0, exponent) for gradient, exponent in contributions]
        sums.append(total(parts))
    return Scaled(torch.stack([s.mantissa for s in sums]), torch.stack([s.exponent for s in sums]))
