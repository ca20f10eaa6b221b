"""What clipping did to a gradient, and whether there is one that can be clipped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from unrolled.errors import NonFiniteError
from unrolled.rollout.scaled import LOG10_2, Scaled, log2_total


@dataclass(frozen=True)
class ClipReport:
    """What clipping did. Norms are log10 of the global L2 norm; `-inf` is a gradient of exactly 0.

    `entries` and `tensors` are the shares that were changed, of a sparse gradient among the entries stored (for
    `step`, `entries` is the share of steps and samples at which the bound was put on the state's cotangent);
    `cosine` is to the unclipped gradient. `bound` is the one that was used: for `auto` the percentile found.
    """

    mode: str
    bound: float | None
    log10_before: float
    log10_after: float
    entries: float
    tensors: float
    cosine: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def check_finite(gradients: Mapping[str, Scaled]) -> None:
    """Raise `NonFiniteError` with the names of the tensors that hold NaN or inf."""
    bad = [name for name, gradient in gradients.items() if not bool(torch.isfinite(gradient.mantissa).all())]
    if bad:
        raise NonFiniteError(
            f"gradients: expected finite numbers, got NaN or inf in {', '.join(bad)}; nothing was clipped, as any "
            "factor would spread it: skip this step, or see unrolled.gradient_flow for where it begins",
            module=bad[0],
        )


def compare(before: Mapping[str, Scaled], after: Mapping[str, Scaled]) -> dict[str, float]:
    """log10 norms of two gradients and the cosine between them."""
    first = log2_total([float(gradient.log2_norm()) for gradient in before.values()])
    second = log2_total([float(gradient.log2_norm()) for gradient in after.values()])
    cosine = 1.0
    if math.isfinite(first) and math.isfinite(second):
        terms = []
        for name, gradient in before.items():
            one, other = gradient.normalised(), after[name].normalised()
            dot = torch.sum(one.mantissa.double() * other.mantissa.double())
            terms.append(float(dot) * 2.0 ** (int(one.exponent) + int(other.exponent) - first - second))
        cosine = min(max(math.fsum(terms), -1.0), 1.0)  # rounding may carry it out of its range
    return {"log10_before": first * LOG10_2, "log10_after": second * LOG10_2, "cosine": cosine}
