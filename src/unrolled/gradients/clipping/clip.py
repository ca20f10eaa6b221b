"""A way of clipping with its bound: checked when made, applied to gradients or to parameters in place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.gradients.clipping.any_range import AnyRange
from unrolled.gradients.clipping.in_range import InRange
from unrolled.gradients.clipping.mode import Mode
from unrolled.gradients.clipping.parameters import Held, Parameters
from unrolled.gradients.clipping.registry import make
from unrolled.gradients.clipping.report import ClipReport, check_finite, compare
from unrolled.rollout.scaled import LOG10_2, Scaled


@dataclass(frozen=True)
class Clip:
    """One way of clipping, checked when made. `history` is what its mode remembers: for `auto`, log2 of the norms.

    Raises `InvalidTypeError` or `InvalidValueError` for an unknown mode, or a bound that the mode cannot have.
    """

    mode: str
    bound: float | None = None
    history: list[float] = field(default_factory=list, repr=False)
    rule: Mode = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rule = make(self.mode, self.bound)
        object.__setattr__(self, "rule", rule)
        object.__setattr__(self, "bound", _finite(rule.bound))

    def __str__(self) -> str:
        return self.mode if self.bound is None else f"{self.mode}:{self.bound:g}"

    @property
    def works_on_gradients(self) -> bool:
        """Whether it changes finished gradients."""
        return self.rule.works_on_gradients

    @property
    def works_on_states(self) -> bool:
        """Whether it changes the cotangent of the state within the backward pass, and so the profile."""
        return self.rule.works_on_states

    @classmethod
    def parse(cls, spec: str | Clip | None) -> Clip:
        """From `none`, `norm:1`, `value:0.5`, `tensor:1`, `step:1`, `auto:10`, `zclip:2.5`, `agc:0.01`."""
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

    def clip(
        self, gradients: Mapping[str, Tensor | Scaled], weights: Mapping[str, Tensor] | None = None
    ) -> tuple[dict[str, Scaled], ClipReport]:
        """The clipped gradients and what was done to them; `weights` are for modes that ask how large these are.

        Raises `NonFiniteError` naming the gradients that hold NaN or inf, `InvalidTypeError` for complex ones.
        """
        before = {name: _scaled(name, gradient) for name, gradient in gradients.items()}
        check_finite(before)
        exact = AnyRange.of(list(before.values()), [weights[name] for name in before] if weights else ())
        bound = self.rule.bound_now(exact.log2_total, self.history)
        changed = self.rule.clip(exact, bound)
        after = dict(zip(before, changed.gradients, strict=True))
        norm = exact.log2_total * LOG10_2
        same = {"log10_before": norm, "log10_after": norm, "cosine": 1.0}
        figures = compare(before, after) if any(changed.touched) else same
        sizes = (gradient.mantissa.numel() for gradient in exact.gradients)
        return after, self._report(bound, changed.touched, sizes, **figures)

    def clip_(self, parameters: Parameters) -> ClipReport:
        """Clip the `.grad` of parameters in place: `clip.clip_(model.parameters())`, one tensor, or named ones.

        Errors call a parameter by its name, or as `parameter 3` by its position from 0. They may lie on several
        devices and have several dtypes. A sparse gradient is coalesced and stays sparse; of a complex one the real
        and imaginary parts are entries of their own. Where float32 holds the gradients with room to spare, they
        are clipped without exponents, to the same result.

        Raises `NonFiniteError` where a gradient holds NaN or inf, `InvalidTypeError` or `InvalidValueError` for
        what cannot be clipped; nothing is changed then.
        """
        held = Held.of(parameters)
        report = self._clip_stored_(held.stored, held.weights)
        held.put_back()
        return report

    def would_clip(self, parameters: Parameters) -> ClipReport:
        """What `clip_` would do to the `.grad` of parameters, which stay as they are; its errors are the same."""
        held = Held.of(parameters)
        return self._clip_stored_(
            {name: gradient.clone() for name, gradient in held.stored.items()}, held.weights
        )

    def _clip_stored_(self, stored: dict[str, Tensor], weights: list[Tensor]) -> ClipReport:
        in_range = InRange.of(list(stored.values()), weights)
        if in_range is not None:
            return self._clip_in_range(in_range)
        clipped, report = self.clip(stored, dict(zip(stored, weights, strict=True)))
        if report.entries:
            for name, gradient in stored.items():
                gradient.copy_(clipped[name].value())
        return report

    def _clip_in_range(self, gradients: InRange) -> ClipReport:
        bound = self.rule.bound_now(math.log2(gradients.total) if gradients.total else -math.inf, self.history)
        outcome = self.rule.clip_(gradients, bound)
        return self._report(
            bound,
            outcome.touched,
            (gradient.numel() for gradient in gradients.gradients),
            log10_before=_log10(gradients.total),
            log10_after=_log10(outcome.norm),
            cosine=outcome.cosine,
        )

    def _report(
        self,
        bound: float,
        touched: list[int],
        sizes: Iterable[int],
        *,
        log10_before: float,
        log10_after: float,
        cosine: float,
    ) -> ClipReport:
        return ClipReport(
            self.mode,
            _finite(bound),
            log10_before,
            log10_after,
            entries=sum(touched) / sum(sizes) if any(touched) else 0.0,
            tensors=sum(count > 0 for count in touched) / max(len(touched), 1),
            cosine=cosine,
        )


def check_text(spec: object) -> None:
    """Raise `InvalidTypeError` or `InvalidValueError` unless it is the text of a mode with its bound."""
    if not isinstance(spec, str):
        raise InvalidTypeError(f"clip: expected text such as norm:1, got {spec!r}; try none")
    Clip.parse(spec)


def _finite(bound: float) -> float | None:
    """The bound, or None for that of a mode that has none."""
    return bound if math.isfinite(bound) else None


def _log10(norm: float) -> float:
    return math.log10(norm) if norm else -math.inf


def _scaled(name: str, gradient: Tensor | Scaled) -> Scaled:
    if isinstance(gradient, Scaled):
        return gradient
    if gradient.is_complex():
        raise InvalidTypeError(
            f"gradients: expected real numbers, got {gradient.dtype} in {name}; pass torch.view_as_real of it"
        )
    return Scaled.of(gradient.detach().to_dense())
