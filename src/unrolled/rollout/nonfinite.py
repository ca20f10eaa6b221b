"""NaN and inf, found and named: which module, which layer, which step."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.errors import NonFiniteError


def is_finite(tensor: Tensor) -> bool:
    """Whether every entry is finite: a finite sum says so, one that overflowed by itself says nothing."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def first_step(tensor: Tensor) -> tuple[int, str]:
    """The first index along dimension 0 with an entry that is not finite, and which kind it is."""
    bad = ~torch.isfinite(tensor.flatten(1)).all(-1)
    step = int(bad.nonzero()[0])
    return step, "nan" if bool(tensor[step].isnan().any()) else "inf"


def check_states(states: Tensor, module: str, layer: int, direction: str, first: int = 0) -> None:
    """Raise `NonFiniteError` unless the states `(T, B, P)` of a layer, from step `first` on, are finite."""
    if states.numel() == 0 or is_finite(states):
        return
    step, kind = first_step(states)
    step += first
    raise NonFiniteError(
        f"expected finite states, got {kind} in {module!r}, layer {layer} ({direction}), first at step {step}; lower "
        "the recurrent gain, or shorten the sequence to less than that",
        module=module,
        layer=layer,
        step=step,
    )


def check_cotangent(cotangent: Tensor, module: str) -> None:
    """Raise `NonFiniteError` unless the gradient that reaches a module's output `(T, B, P)` is finite."""
    if cotangent.numel() == 0 or is_finite(cotangent):
        return
    step, kind = first_step(cotangent)
    raise NonFiniteError(
        f"expected a finite gradient at the output of {module!r}, got {kind}, first at step {step}; look for a "
        "division by 0, a log of 0 or an overflow between this output and the loss",
        module=module,
        step=step,
    )


def check_norms(norms: Tensor, module: str) -> None:
    """Raise `NonFiniteError` unless the norms `(T, B)` of the gradients of a cell's states are finite."""
    finite = torch.isfinite(norms)
    if bool(finite.all()):
        return
    step = int((~finite).any(1).nonzero()[-1])
    kind = "nan" if bool(norms[step].isnan().any()) else "inf"
    raise NonFiniteError(
        f"expected a finite gradient in {module!r}, got {kind}, first (on its way back) at step {step}; look for NaN "
        "and inf in the input and in what comes after this step, or lower the recurrent weights",
        module=module,
        step=step,
    )
