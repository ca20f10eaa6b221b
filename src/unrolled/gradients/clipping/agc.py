"""`agc:L`: the gradient of each unit at most L times as large as the unit's weights.

Adaptive gradient clipping: Brock, De, Smith, Simonyan 2021, eq. 3. A unit is a row of a weight, what one gate of one
hidden unit reads; a vector, such as a bias, is one unit. Where `|G_i| > L max(|W_i|, 1e-3)`, in L2 norms, `G_i` is
scaled down to that. The direction may turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.gradients.clipping.any_range import AnyRange, Changed
from unrolled.gradients.clipping.in_range import InRange, Outcome, numbers
from unrolled.gradients.clipping.mode import Mode
from unrolled.rollout.scaled import Scaled

SMALLEST = 1e-3  # of the norm of a unit's weights, so that weights of 0 can be learnt


class EachUnit(Mode):
    """Each row of each weight on its own."""

    meaning = "the largest norm of a unit's gradient relative to that of its weights"

    def clip(self, gradients: AnyRange, bound: float) -> Changed:
        """A factor for each row."""
        clipped, touched = [], []
        for gradient, weight in _pairs(gradients):
            rows, most = _rows(gradient.mantissa, weight), bound * _norms(weight)
            norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            larger = torch.log2(norms) + gradient.exponent > torch.log2(most)
            touched.append(int(larger.sum()) * rows.shape[1])
            if not touched[-1]:
                clipped.append(gradient)
                continue
            kept = _rows(Scaled(gradient.mantissa.double(), gradient.exponent).value(), weight)
            after = torch.where(larger, rows / norms * most, kept)
            clipped.append(Scaled.of(after.view_as(gradient.mantissa)))
        return Changed(clipped, touched)

    def clip_(self, gradients: InRange, bound: float) -> Outcome:
        """A factor for each row."""
        figures = []
        for gradient, weight in _pairs(gradients):
            rows, most = _rows(gradient, weight), bound * _norms(weight)
            norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            larger = norms > most
            factors = torch.where(larger, most / norms, 1.0)
            after = factors * norms
            figures += [larger.sum() * rows.shape[1], torch.sum(norms * after), torch.sum(after * after)]
            gradient.copy_(torch.where(larger, rows * factors, rows).view_as(gradient))
        values = numbers([figure.double() for figure in figures])
        norm = math.sqrt(math.fsum(values[2::3]))
        return Outcome(norm, gradients.cosine(math.fsum(values[1::3]), norm), [int(k) for k in values[::3]])

    def clip_as_torch_(self, parameters: Sequence[nn.Parameter], norms: Sequence[float]) -> bool:
        """torch has no such clipping."""
        return False


def _pairs(gradients: AnyRange | InRange) -> Iterator[tuple[Any, Tensor]]:
    """Each gradient with its weight. Raises an `UnrolledError` where these are not known, or of another shape."""
    if len(gradients.weights) != len(gradients.gradients):
        raise InvalidValueError("clip: expected weights beside the gradients for agc, got none; pass them too")
    every: list[Any] = list(gradients.gradients)
    for gradient, weight in zip(every, gradients.weights, strict=True):
        held: Tensor = gradient.mantissa if isinstance(gradient, Scaled) else gradient
        numbers_held = torch.view_as_real(weight.detach()) if weight.is_complex() else weight
        if held.shape != numbers_held.shape:
            raise InvalidTypeError(
                f"gradients: expected dense ones for agc, got {tuple(held.shape)} stored numbers for a weight of "
                f"{tuple(numbers_held.shape)}; clip by norm"
            )
        yield gradient, weight


def _rows(numbers_of: Tensor, weight: Tensor) -> Tensor:
    """`(units, numbers of each)` in float64."""
    units = len(weight) if weight.dim() > 1 else 1
    return numbers_of.detach().double().reshape(units, -1)


def _norms(weight: Tensor) -> Tensor:
    """The norm of each unit's weights `(units, 1)`, or `SMALLEST`."""
    held = torch.view_as_real(weight.detach()) if weight.is_complex() else weight
    norms: Tensor = torch.linalg.vector_norm(_rows(held, weight), dim=1, keepdim=True)
    return norms.clamp(min=SMALLEST)
