"""`step:M`: the cotangent of the state at most M, sample by sample, at every step of the backward pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import torch
from torch import nn

from unrolled.errors import InvalidValueError
from unrolled.gradients.clipping.any_range import AnyRange
from unrolled.gradients.clipping.in_range import InRange
from unrolled.gradients.clipping.mode import Mode
from unrolled.rollout.scaled import Scaled


class EachStep(Mode):
    """It has no meaning for a finished gradient; `gradient_flow` runs its own backward pass with a `StepBound`."""

    meaning = "the largest norm of the state's cotangent"
    works_on_gradients = False
    works_on_states = True

    def clip(self, gradients: AnyRange, bound: float) -> NoReturn:
        """Raises `InvalidValueError`."""
        raise InvalidValueError(
            f"clip: expected a mode for finished gradients, got {self.name}, which works inside the backward "
            "pass; pass it to unrolled.gradient_flow(clip=...)"
        )

    def clip_(self, gradients: InRange, bound: float) -> NoReturn:
        """Raises `InvalidValueError`."""
        self.clip(AnyRange.of([]), bound)

    def clip_as_torch_(self, parameters: Sequence[nn.Parameter], norms: Sequence[float]) -> bool:
        """torch has nothing of the kind."""
        return False


@dataclass(frozen=True)
class StepBound:
    """A bound on the L2 norm of each sample's state cotangent, put on it at every step; counts what it did.

    For an LSTM the norm is that of `(h̄, c̄)` together, c̄ being what arrives through the next cell state.
    """

    bound: float
    count: list[int] = field(default_factory=lambda: [0, 0])  # touched, seen

    def put_on(self, state: Sequence[Scaled | None]) -> list[Scaled | None]:
        """The cotangent of a state, its parts together, with a norm of at most the bound in each sample."""
        parts = [part for part in state if part is not None]
        if not parts:
            return list(state)
        log2_norms = torch.stack([part.log2_norm() for part in parts])
        joint = torch.logsumexp(2 * math.log(2) * log2_norms, 0) / (2 * math.log(2))
        excess = joint - math.log2(self.bound)
        over = excess > 0
        self.count[0] += int(over.sum())
        self.count[1] += int((joint > -math.inf).sum())
        whole = torch.where(over, excess, 0.0).floor()
        factor = torch.where(over, torch.exp2(whole - excess), 1.0)
        return [None if part is None else part.by_sample(factor, -whole.to(torch.int64)) for part in state]
