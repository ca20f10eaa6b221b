"""What clipping did to a gradient, and whether there is one that can be clipped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from unrolled.errors import NonFiniteError
from unrolled.gradients.clipping.mode import Mode
from unrolled.gradients.clipping.norm import log2_factor
from unrolled.gradients.clipping.registry import MODES, make
from unrolled.results.codec import NonNegative, Share, require
from unrolled.rollout.scaled import LOG10_2, Scaled, check_logs, log2_total

SLACK = 1e-3  # decades, and of a cosine, for the roundings of float32 and of bfloat16


@dataclass(frozen=True)
class ClipReport:
    """What clipping did. Norms are log10 of the global L2 norm; `-inf` is a gradient of exactly 0.

    `entries` and `tensors` are the shares that were changed, of a sparse gradient among the entries stored (for
    `step`, `entries` is the share of steps and samples at which the bound was put on the state's cotangent);
    `cosine` is to the unclipped gradient. `bound` is the one that was used: for `auto` the percentile found, for
    `zclip` the threshold.
    """

    mode: str
    bound: NonNegative | None
    log10_before: float
    log10_after: float
    entries: Share
    tensors: Share
    cosine: float

    def check(self) -> None:
        """Raise `ValueError` for what no clipping does."""
        found = self.mode in MODES and MODES[self.mode].finds_bound
        rule = make(self.mode, 1.0 if found else self.bound)
        check_figures(rule, self.bound, self.log10_before, self.log10_after, self.entries, self.cosine)
        require(self.entries > 0 or self.tensors == 0, "no tensor that was changed without an entry")
        require(rule.works_on_states or self.tensors > 0 or self.entries == 0, "a tensor that was changed")


def check_figures(
    rule: Mode, bound: float | None, before: float, after: float, entries: float, cosine: float
) -> None:
    """Raise `ValueError` unless clipping by `rule`, with `bound` in force where it is known, can do this."""
    check_logs(np.array([before, after]), 1, "norms")
    require(-1 <= cosine <= 1 and 0 <= entries <= 1, "a cosine, and a share")
    if entries == 0:
        require(agree(before, after) and cosine >= 1 - SLACK, "the same gradient, as nothing was changed")
    if rule.works_on_states:
        return
    require(entries == 0 or rule.works_on_gradients, f"no change by {rule.name}")
    require(after <= before + SLACK and cosine >= 0, "a gradient that was only made smaller")
    if rule.bounds_norm:
        require(entries in (0, 1) and cosine >= 1 - SLACK, "one factor for all")
        factor = min(0.0, LOG10_2 * log2_factor(before / LOG10_2, bound)) if bound else after - before
        require(before == after or agree(after, before + factor), f"a norm of at most {bound}")


def agree(one: float, other: float) -> bool:
    """Whether two norms, as log10, are the same but for roundings."""
    return one == other or abs(one - other) <= SLACK


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
