"""What `Clip.clip_` is handed, as torch takes it: parameters or a single one, with names or without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unrolled.errors import InvalidTypeError

Parameters = Tensor | Iterable[Tensor] | Iterable[tuple[str, Tensor]]

COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
USUAL = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Held:
    """The gradients that parameters hold, by name: the real numbers stored in each, a view to be clipped in place.

    `weights` are the parameters, in the same order. `renewed` are those whose gradient could not be clipped as it is,
    with the coalesced one, or the like, that the view is of.
    """

    stored: dict[str, Tensor] = field(default_factory=dict)
    weights: list[Tensor] = field(default_factory=list)
    renewed: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @classmethod
    def of(cls, parameters: Parameters) -> Held:
        """Of parameters or of one; a parameter without a name of its own is called by its position, from 0.

        One that is given twice counts once. Raises `InvalidTypeError` for what are no
        parameters, and for gradients that cannot be clipped.
        """
        if isinstance(parameters, Tensor):
            parameters = (parameters,)
        elif isinstance(parameters, str | torch.nn.Module) or not isinstance(parameters, Iterable):
            raise _no_parameters(parameters)
        held = cls()
        seen = set()
        for position, item in enumerate(parameters):
            name, parameter = item if type(item) is tuple and len(item) == 2 else ("", item)
            if not isinstance(parameter, Tensor) or type(name) is not str:
                raise _no_parameters(item)
            gradient = parameter.grad
            if gradient is None or id(parameter) in seen or not gradient.numel():
                continue
            seen.add(id(parameter))
            if not name or name in held.stored:
                name = f"parameter {position}"
            if not _is_usual(gradient):
                gradient = _renewed(name, gradient)
                held.renewed.append((parameter, gradient))
                gradient = _numbers_in(gradient)
            held.stored[name] = gradient
            held.weights.append(parameter)
        return held

    def put_back(self) -> None:
        """Hand the renewed gradients to their parameters, once they are clipped."""
        for parameter, gradient in self.renewed:
            parameter.grad = gradient


def _is_usual(gradient: Tensor) -> bool:
    """Whether it can be clipped as it is: dense, of real numbers, and in no graph of its own."""
    return (
        type(gradient) is Tensor
        and gradient.layout is torch.strided
        and gradient.dtype in USUAL
        and not gradient.requires_grad
    )


def _renewed(name: str, gradient: Tensor) -> Tensor:
    """The same gradient with each of its entries stored once, as it is."""
    if hasattr(gradient, "full_tensor"):  # a DTensor, of which this process holds a part
        raise InvalidTypeError(
            f"gradients: expected whole tensors, got {type(gradient).__name__} in {name}; clip it with torch.nn.utils"
        )
    if gradient.layout is torch.sparse_coo:
        gradient = gradient.coalesce()
    elif gradient.layout not in (torch.strided, *COMPRESSED):
        raise InvalidTypeError(
            f"gradients: expected a dense or sparse tensor, got layout {gradient.layout} in {name}; make it dense"
        )
    return gradient.resolve_conj()


def _numbers_in(gradient: Tensor) -> Tensor:
    """A dense view of the entries stored; real and imaginary parts are entries of their own."""
    numbers = gradient.detach()
    if numbers.layout is not torch.strided:
        numbers = numbers.values()
    return torch.view_as_real(numbers) if numbers.is_complex() else numbers


def _no_parameters(found: object) -> InvalidTypeError:
    hint = "write clip_(model.parameters())" if isinstance(found, torch.nn.Module) else "see model.parameters()"
    return InvalidTypeError(f"parameters: expected tensors, named or not, got {type(found).__name__}; {hint}")
