"""What lies between recurrent calls, pulled back by autograd, whatever the range.

A gradient is linear in the cotangents it starts from. So cotangents that span more than a dtype can hold
are cut into bands of similar size, each band goes through autograd at an exponent of its own, and the
results are added with their exponents. That is exact whatever the graph does with its samples and steps;
only a part of it that shrinks or grows by more than the dtype's whole range all by itself can leave it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from unrolled.errors import InvalidValueError
from unrolled.rollout.scaled import ZERO_EXPONENT, Scaled, total

# Width of a band in powers of two: half the range below 1, the other half is left to the graph.
BAND = {torch.float32: 60, torch.float64: 500}

# Gradients of a parameter that are added up at once: the more, the fewer operations and the more memory.
TOGETHER = 8
# Numbers in a gradient up to which it is worth a look whether all are 0: those of one step, not of a sequence.
OF_A_STEP = 2**15

Contribution = tuple[Tensor, int]  # a gradient, and the exponent of 2 that it is to be multiplied by


class Gradients:
    """Gradients of leaves of the graph, and of places inside it, with their exponents.

    `parameters` are leaves whose gradients are wanted in the end, each with one exponent. `leaves` are what recurrent
    calls gave; each gets one contribution for each time that autograd came to it, and so does each of the `places`.
    """

    def __init__(
        self, parameters: Iterable[Tensor], leaves: Iterable[Tensor], places: Iterable[GradientEdge]
    ) -> None:
        self.parameters: dict[Tensor, list[Scaled]] = {parameter: [] for parameter in parameters}
        self.leaves: dict[Tensor, list[Contribution]] = {leaf: [] for leaf in leaves}
        self.places: dict[GradientEdge, list[Contribution]] = {place: [] for place in places}
        self._at: dict[Any, list[GradientEdge]] = {}
        for place in self.places:
            self._at.setdefault(place.node, []).append(place)

    def add(self, parameter: Tensor, gradient: Scaled) -> None:
        """Add to the gradient of a parameter."""
        parts = self.parameters[parameter]
        parts.append(gradient)
        if len(parts) == TOGETHER:
            parts[:] = [total(parts)]

    def of_parameters(self) -> dict[Tensor, Scaled]:
        """The gradients of the parameters that have any."""
        return {parameter: total(parts) for parameter, parts in self.parameters.items() if parts}

    def taken(self, leaf: Tensor, leading: int) -> Scaled | None:
        """What has come to a leaf, with an exponent for each index of its first `leading` dimensions; it is let go."""
        parts = [Scaled.of(part, leading).scale(1.0, exponent) for part, exponent in self.leaves.pop(leaf)]
        return total(parts) if parts else None

    def from_scalar(self, scalar: Tensor) -> bool:
        """Add the gradients of a scalar; whether it depends on what recurrent calls gave."""
        reached = self._reached([scalar])
        self._pull([scalar], None, 0, reached, may_be_zero=True)
        return any(not isinstance(one, Tensor) or one in self.leaves for one in reached)

    def through(
        self,
        tensors: Sequence[Tensor],
        cotangents: Sequence[Scaled],
        to: Sequence[Tensor | GradientEdge] | None = None,
    ) -> None:
        """Add the gradients that flow on from `tensors`, given their cotangents.

        Where all that they may come `to` is known, cotangents are stacks, each of several tensors of one shape in turn.
        """
        reached = self._reached(tensors) if to is None else to
        for top, band in bands(cotangents):
            each = band if to is None else [part for stack in band for part in stack.unbind()]
            parts = [part.to(tensor.dtype) for part, tensor in zip(each, tensors, strict=True)]
            self._pull(tensors, parts, top, reached)

    def _pull(
        self,
        tensors: Sequence[Tensor],
        cotangents: Sequence[Tensor] | None,
        exponent: int,
        reached: Sequence[Tensor | GradientEdge],
        may_be_zero: bool = False,
    ) -> None:
        if not reached:
            return
        wanted: Any = reached  # its types know tensors or edges, not both
        try:
            found = torch.autograd.grad(tensors, wanted, cotangents, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            if "use_reentrant" not in str(error):
                raise
            raise InvalidValueError(
                "model: expected a graph that can be asked for single gradients, got an activation checkpoint with "
                "use_reentrant=True; pass use_reentrant=False to torch.utils.checkpoint, or use unrolled.watch"
            ) from error
        for one, gradient in zip(reached, _without_zeros(found) if may_be_zero else found, strict=True):
            if gradient is None:
                continue
            if not isinstance(one, Tensor):
                self.places[one].append((gradient.detach(), exponent))
            elif one in self.leaves:
                self.leaves[one].append((gradient.detach(), exponent))
            else:
                self.add(one, Scaled.of(gradient.detach()).scale(1.0, exponent))

    def _reached(self, tensors: Iterable[Tensor]) -> list[Tensor | GradientEdge]:
        """The leaves and places of interest that `tensors` depend on, found by walking the graph.

        Asking autograd for all that there are would cost the square of the number of calls in a loop.
        """
        found: dict[Tensor | GradientEdge, None] = {}  # in a repeatable order
        found.update((tensor, None) for tensor in tensors if tensor in self.leaves or tensor in self.parameters)
        nodes = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
        seen = set(nodes)
        while nodes:
            node = nodes.pop()
            found.update(dict.fromkeys(self._at.get(node, ())))
            leaf = getattr(node, "variable", None)
            if leaf is not None and (leaf in self.leaves or leaf in self.parameters):
                found[leaf] = None
            for next_node, _ in node.next_functions:
                if next_node is not None and next_node not in seen:
                    seen.add(next_node)
                    nodes.append(next_node)
        return list(found)


def _without_zeros(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """None in place of those of nothing but zeros that a loss at one step of a cell sends to all others."""
    small = [gradient for gradient in gradients if gradient is not None and gradient.numel() <= OF_A_STEP]
    if len(small) < 2:
        return list(gradients)
    foreach: Any = torch._foreach_norm
    norms = torch.stack(foreach(small, math.inf)).tolist()
    zeros = {id(gradient) for gradient, norm in zip(small, norms, strict=True) if norm == 0}
    return [None if id(gradient) in zeros else gradient for gradient in gradients]


def bands(cotangents: Sequence[Scaled]) -> Iterator[tuple[int, list[Tensor]]]:
    """Parts of the cotangents that each fit the dtype, from the largest down: `(exponent, mantissas)`.

    The sum of `mantissas * 2**exponent` over the bands is the cotangents; zeros make no band.
    """
    magnitudes = [cotangent.magnitude() for cotangent in cotangents]
    width = BAND[cotangents[0].mantissa.dtype]
    while (top := max(int(magnitude.max()) for magnitude in magnitudes)) > ZERO_EXPONENT:
        band = []
        for index, cotangent in enumerate(cotangents):
            inside = magnitudes[index] > top - width
            magnitudes[index] = magnitudes[index].masked_fill(inside, ZERO_EXPONENT)
            own = cotangent.at(torch.full_like(cotangent.exponent, top))
            outside = ~inside.reshape(inside.shape + (1,) * (own.dim() - inside.dim()))
            band.append(own.masked_fill(outside, 0))
        yield top, band
