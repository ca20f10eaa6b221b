"""What `Clip.clip_` is handed, as torch takes it: parameters or a single one, with names or without."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.errors import InvalidTypeError, InvalidValueError

Parameters = Tensor | Iterable[Tensor] | Iterable[tuple[str, Tensor]]

COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


class Held(NamedTuple):
    """A parameter, its gradient, and the real numbers stored in that: a view to be clipped in place.

    The `gradient` is another tensor than `parameter.grad` where that had to be coalesced first.
    """

    parameter: Tensor
    gradient: Tensor
    stored: Tensor


def gradients_of(parameters: Parameters) -> dict[str, Held]:
    """The gradients that there are, by name; a parameter without a name is called by its position from 0.

    A parameter that is given twice counts once. Raises `InvalidTypeError` or `InvalidValueError` for what are no
    parameters, and for gradients that cannot be clipped.
    """
    if isinstance(parameters, Tensor):
        parameters = (parameters,)
    elif isinstance(parameters, str | torch.nn.Module) or not isinstance(parameters, Iterable):
        raise _no_parameters(parameters)
    held: dict[str, Held] = {}
    seen = set()
    for position, item in enumerate(parameters):
        name, parameter = item if isinstance(item, tuple) and len(item) == 2 else ("", item)
        if not (isinstance(name, str) and isinstance(parameter, Tensor)):
            raise _no_parameters(item)
        gradient = parameter.grad
        if gradient is None or id(parameter) in seen or not gradient.numel():
            continue
        seen.add(id(parameter))
        if not name or name in held:
            name = f"parameter {position}"
        gradient, stored = _stored(name, gradient)
        held[name] = Held(parameter, gradient, stored)
    return held


def _stored(name: str, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient, each of its entries stored once, and these entries as a tensor of real numbers."""
    if gradient.is_meta or hasattr(
        gradient, "full_tensor"
    ):  # a shape alone, or one process's part of a DTensor
        raise InvalidValueError(
            f"gradients: expected whole tensors with data, got {type(gradient).__name__} on {gradient.device} in "
            f"{name}; clip it with torch.nn.utils"
        )
    if gradient.is_complex():
        gradient = gradient.resolve_conj()  # of which there is a view as real numbers
    stored = gradient
    if gradient.layout is torch.sparse_coo:
        gradient = gradient.coalesce()
        stored = gradient.values()
    elif gradient.layout in COMPRESSED:
        stored = gradient.values()
    elif gradient.layout is not torch.strided:
        raise InvalidTypeError(
            f"gradients: expected a dense or sparse tensor, got layout {gradient.layout} in {name}; make it dense"
        )
    return gradient, torch.view_as_real(stored) if stored.is_complex() else stored


def _no_parameters(found: object) -> InvalidTypeError:
    hint = "write clip_(model.parameters())" if isinstance(found, torch.nn.Module) else "see model.parameters()"
    return InvalidTypeError(f"parameters: expected tensors, named or not, got {type(found).__name__}; {hint}")
