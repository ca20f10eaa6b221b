"""What lies between recurrent calls, pulled back by autograd, whatever the range.

A gradient is linear in the cotangents it starts from. So cotangents that span more than a dtype can hold
are cut into bands of similar size, each band goes through autograd at an exponent of its own, and the
results are added with their exponents. That is exact whatever the segment does with its samples and steps;
only a segment that shrinks or grows by more than the dtype's whole range all by itself can leave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unrolled.rollout.scaled import ZERO_EXPONENT, Scaled

# Width of a band in powers of two: half the range below 1, the other half is left to the segment.
BAND = {torch.float32: 60, torch.float64: 500}


@dataclass
class Gradients:
    """Gradients of a set of leaf tensors, summed up with their exponents.

    `leading`: for each leaf of interest, how many of its dimensions get exponents of their own.
    """

    leading: dict[Tensor, int]
    sums: dict[Tensor, Scaled] = field(default_factory=dict)

    def add(self, leaf: Tensor, gradient: Scaled) -> None:
        """Add to the gradient of a leaf."""
        self.sums[leaf] = self.sums[leaf] + gradient if leaf in self.sums else gradient

    def from_scalar(self, scalar: Tensor) -> set[Tensor]:
        """Add the gradients of a scalar; the leaves that it depends on."""
        leaves = self._reached([scalar])
        found = torch.autograd.grad(scalar, leaves, retain_graph=True, allow_unused=True) if leaves else ()
        self._add_all(leaves, found, 0)
        return set(leaves)

    def through(self, tensors: Sequence[Tensor], cotangents: Sequence[Scaled]) -> None:
        """Add the gradients that flow on from `tensors`, given their cotangents."""
        leaves = self._reached(tensors)
        if not leaves:
            return
        for top, band in bands(cotangents):
            parts = [part.to(tensor.dtype) for part, tensor in zip(band, tensors, strict=True)]
            found = torch.autograd.grad(tensors, leaves, parts, retain_graph=True, allow_unused=True)
            self._add_all(leaves, found, top)

    def _add_all(self, leaves: Sequence[Tensor], found: Sequence[Tensor | None], exponent: int) -> None:
        for leaf, gradient in zip(leaves, found, strict=True):
            if gradient is not None:
                self.add(leaf, Scaled.of(gradient.detach(), self.leading[leaf]).scale(1.0, exponent))

    def _reached(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        """The leaves of interest that `tensors` depend on, found by walking the graph.

        Asking autograd for all leaves there are would cost the square of the number of calls in a loop.
        """
        found = {tensor: None for tensor in tensors if tensor in self.leading}  # in a repeatable order
        nodes = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
        seen = set(nodes)
        while nodes:
            node = nodes.pop()
            leaf = getattr(node, "variable", None)
            if leaf is not None and leaf in self.leading:
                found[leaf] = None
            for next_node, _ in node.next_functions:
                if next_node is not None and next_node not in seen:
                    seen.add(next_node)
                    nodes.append(next_node)
        return list(found)


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
