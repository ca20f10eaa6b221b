"""Ways of keeping a gradient in bounds, and what each of them does to it.

    none        nothing
    norm:M      one factor for all parameters, so that the global L2 norm is at most M (Pascanu et al. 2013)
    value:V     each entry between -V and V
    tensor:M    each parameter's own L2 norm at most M
    auto:P      like norm, at the P-th percentile of all norms so far, this one included (Seetharaman 2020)
    step:M      the cotangent of the state at most M at every step of the backward pass

`norm` and `tensor` divide as `torch.nn.utils.clip_grad_norm_` does, by `norm + 1e-6`. Unlike it, nothing
here overflows near 1e20, multiplies by 0 or turns signs; what is not finite is named and left alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import InvalidTypeError, InvalidValueError, NonFiniteError
from unrolled.gradients.ordinary import Clipped, Ordinary
from unrolled.rollout.scaled import LOG10_2, Scaled, log2_total

MODES = ("none", "norm", "value", "tensor", "step", "auto")
EPSILON = 1e-6  # added to the norm that is divided by, as torch does


@dataclass(frozen=True)
class ClipReport:
    """What clipping did. Norms are log10 of the global L2 norm; `-inf` is a gradient of exactly 0.

    `entries` and `tensors` are the shares that were changed (for `step`, `entries` is the share of steps and
    samples at which the bound was put on the state's cotangent); `cosine` is to the unclipped gradient.
    `bound` is the one that was used: for `auto` the percentile found.
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


@dataclass
class Clip:
    """One way of clipping, checked when made. `auto` remembers the norms it has seen, as log2."""

    mode: str
    bound: float | None = None
    history: list[float] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InvalidValueError(f"clip: expected one of {', '.join(MODES)}, got {self.mode!r}; try norm:1")
        if self.mode == "none":
            if self.bound is not None:
                raise InvalidValueError(f"clip: expected no bound for none, got {self.bound}; write none")
            return
        if isinstance(self.bound, bool) or not isinstance(self.bound, int | float):
            raise InvalidTypeError(
                f"clip: expected a number as the bound of {self.mode}, got {self.bound!r}; write {self.mode}:1"
            )
        if not (math.isfinite(self.bound) and self.bound > 0):
            raise InvalidValueError(
                f"clip: expected a bound above 0 for {self.mode}, got {self.bound}; a bound of 0 or "
                f"less would "
                "erase the gradient or turn it around"
            )
        if self.mode == "auto" and self.bound > 100:
            raise InvalidValueError(
                f"clip: expected a percentile up to 100 for auto, got {self.bound}; try auto:10"
            )
        self.bound = float(self.bound)

    def __str__(self) -> str:
        return self.mode if self.bound is None else f"{self.mode}:{self.bound:g}"

    @classmethod
    def parse(cls, spec: str | Clip | None) -> Clip:
        """From `none`, `norm:1`, `value:0.5`, `tensor:1`, `step:1`, `auto:10`."""
        if isinstance(spec, Clip):
            return spec
        if spec is None:
            return cls("none")
        if not isinstance(spec, str):
            raise InvalidTypeError(f"clip: expected text such as norm:1, got {type(spec).__name__}; try norm:1")
        mode, colon, bound = spec.strip().partition(":")
        if not colon:
            return cls(mode)
        try:
            number = float(bound)
        except ValueError:
            raise InvalidValueError(
                f"clip: expected a number after {mode}:, got {bound!r}; write {mode}:1"
            ) from None
        return cls(mode, number)

    def clip(self, gradients: Mapping[str, Tensor | Scaled]) -> tuple[dict[str, Scaled], ClipReport]:
        """The clipped gradients and what was done to them; raises `NonFiniteError` naming NaN and inf."""
        if self.mode == "step":
            raise InvalidValueError(
                "clip: expected a mode for finished gradients, got step, which works inside the "
                "backward pass; "
                "pass it to unrolled.gradient_flow(clip=...)"
            )
        scaled = {name: _scaled(gradient) for name, gradient in gradients.items()}
        check_finite(scaled)
        norms = {name: float(gradient.log2_norm()) for name, gradient in scaled.items()}
        bound = self._threshold(log2_total(list(norms.values())))
        clipped, touched = {}, {}
        for name, gradient in scaled.items():
            if self.mode == "value" and bound is not None:
                clipped[name], touched[name] = _clip_values(gradient, bound)
            else:
                norm = norms[name] if self.mode == "tensor" else log2_total(list(norms.values()))
                clipped[name], touched[name] = _clip_norm(gradient, norm, bound)
        entries = sum(gradient.mantissa.numel() for gradient in scaled.values())
        report = ClipReport(
            self.mode,
            bound,
            **compare(scaled, clipped),
            entries=sum(touched.values()) / max(entries, 1),
            tensors=sum(count > 0 for count in touched.values()) / max(len(touched), 1),
        )
        return clipped, report

    def clip_(self, parameters: Iterable[tuple[str, Tensor]]) -> ClipReport:
        """Clip, in place, the `.grad` of named parameters: `clip.clip_(model.named_parameters())`.

        Gradients of an ordinary size take a short way without exponents, to the same result.
        """
        named = {name: parameter.grad for name, parameter in parameters if parameter.grad is not None}
        ordinary = Ordinary.of(list(named.values())) if self.mode != "step" else None
        if ordinary is not None:
            return self._clip_ordinary(ordinary)
        clipped, report = self.clip(named)
        if report.entries:
            for name, gradient in named.items():
                gradient.copy_(clipped[name].value())
        return report

    def _clip_ordinary(self, ordinary: Ordinary) -> ClipReport:
        bound = self._threshold(math.log2(ordinary.total) if ordinary.total else -math.inf)
        if bound is None:
            done = Clipped(ordinary.total, 1.0, [0])
        elif self.mode == "value":
            done = ordinary.clip_values_(bound)
        elif self.mode == "tensor":
            done = ordinary.clip_tensors_(bound, EPSILON)
        else:
            done = ordinary.clip_norm_(bound, EPSILON)
        return ClipReport(
            self.mode,
            bound,
            log10_before=_log10(ordinary.total),
            log10_after=_log10(done.norm),
            entries=sum(done.touched) / max(sum(gradient.numel() for gradient in ordinary.gradients), 1),
            tensors=sum(count > 0 for count in done.touched) / len(done.touched),
            cosine=done.cosine,
        )

    def _threshold(self, log2_norm: float) -> float | None:
        """The bound to use now."""
        if self.mode != "auto" or self.bound is None:
            return self.bound
        self.history.append(log2_norm)
        largest = max(self.history)
        if largest == -math.inf:
            return None
        share = float(np.percentile(np.exp2(np.array(self.history) - largest), self.bound))
        try:
            return float(math.ldexp(share, math.floor(largest)) * 2.0 ** (largest - math.floor(largest)))
        except OverflowError:  # a percentile beyond float64 bounds nothing that float64 could hold
            return None


def check_finite(gradients: Mapping[str, Scaled]) -> None:
    """Raise `NonFiniteError` with the names of the tensors that hold NaN or inf."""
    bad = [name for name, gradient in gradients.items() if not bool(torch.isfinite(gradient.mantissa).all())]
    if bad:
        raise NonFiniteError(
            f"gradients: expected finite numbers, got NaN or inf in {', '.join(bad)}; nothing was "
            f"clipped, as "
            "any factor would spread it: skip this step, or see unrolled.gradient_flow for where it begins",
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


def _log10(norm: float) -> float:
    return math.log10(norm) if norm else -math.inf


def _scaled(gradient: Tensor | Scaled) -> Scaled:
    return gradient if isinstance(gradient, Scaled) else Scaled.of(gradient.detach())


def _clip_norm(gradient: Scaled, log2_norm: float, bound: float | None) -> tuple[Scaled, int]:
    """Scale by `bound / (norm + 1e-6)` where that is below 1; the entries touched."""
    if bound is None or log2_norm == -math.inf:
        return gradient, 0
    divisor = log2_norm if log2_norm > 60 else math.log2(2.0**log2_norm + EPSILON)
    log2_factor = math.log2(bound) - divisor
    if log2_factor >= 0:
        return gradient, 0
    whole = math.floor(log2_factor)
    return gradient.scale(2.0 ** (log2_factor - whole), whole), gradient.mantissa.numel()


def _clip_values(gradient: Scaled, bound: float) -> tuple[Scaled, int]:
    """Clamp the entries; the entries touched. A gradient that is within bounds keeps its exponent."""
    values = Scaled(gradient.mantissa.double(), gradient.exponent).value()
    touched = int((values.abs() > bound).sum())
    return (Scaled.of(values.clamp(-bound, bound)), touched) if touched else (gradient, 0)
