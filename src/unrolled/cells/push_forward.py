"""Tangents pushed forward through linearised steps, of one layer or of a stack of them.

A pull-back works on rows `(B, H)`, one cotangent a sample, and a push-forward on columns `(H, B * k)`, k tangents a
sample. Both use the factors of a block, planes `(T, B, H)`; for columns, `per_step` transposes them once a block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

# Tangents per sample from which on it pays to add up the gates' weights before the product.
MERGE = 16

# Above this condition, weights are not inverted: what they map next to 0 would come back as rounding errors.
LARGEST_CONDITION = 1e8


class Push(Protocol):
    """A run of linearised steps of one system."""

    def __call__(self, first: int, last: int, v: Tensor, spare: tuple[Tensor, Tensor]) -> Tensor:
        """What the tangents `v` `(n, M)`, as columns, of state `first` have become in state `last`.

        The two `spare` tensors of that shape are written over, and one of them is returned.
        """


class Steps(ABC):
    """A `Push` that goes step by step, back and forth between the two spare tensors."""

    def __call__(self, first: int, last: int, v: Tensor, spare: tuple[Tensor, Tensor]) -> Tensor:
        """One step after the other."""
        out, other = spare
        for t in range(first, last):
            self.step(t, v, out)
            v, out, other = out, other, out
        return v

    @abstractmethod
    def step(self, t: int, v: Tensor, out: Tensor) -> None:
        """Write to `out` what `v` becomes in step t."""

    def inverse(self) -> Push | None:
        """The steps of `J_t⁻ᵀ`, in which what shrank most grows most; None where a step cannot be inverted."""
        return None


class PushForward(Steps):
    """A block of `T` steps of one layer and direction, linearised to push tangents through.

    Tangents are columns: `(n, B * k)` are k directions in the state of each sample in turn, which is `h`, or
    `h` above `c` for an LSTM. Several layers make one system when each also takes what its input `x_t`
    moves by: the new `h` of the layer below, at the same step.
    """

    output_size: int  # of h, which comes first in the state
    size: int  # of the whole state

    @abstractmethod
    def step(
        self, t: int, v: Tensor, out: Tensor, below: Tensor | None = None, own: Tensor | None = None
    ) -> None:
        """Write to `out` `(n, B * k)` what tangents `v` of state t and `below` `(I, B * k)` of `x_t` become.

        `own` is what a change of the weights moves the step by, as `Linearised.of_weights` has it.
        """


class Layers(Steps):
    """The steps of a stack of layers as one system, whose Jacobian is block lower triangular."""

    def __init__(self, layers: Sequence[PushForward], masks: Sequence[Tensor] = ()) -> None:
        self.layers = layers
        self.masks = [per_step(mask)[0] for mask in masks]  # of the dropout above each layer but the last

    def step(self, t: int, v: Tensor, out: Tensor) -> None:
        """Each layer takes what the one below has just become."""
        below, first = None, 0
        for number, layer in enumerate(self.layers):
            last = first + layer.size
            layer.step(t, v[first:last], out[first:last], below)
            below, first = out[first : first + layer.output_size], last
            if number < len(self.masks):
                factor = self.masks[number][t]
                below = (by_sample(below, factor) * factor).reshape_as(below)


def inverted(weight: Tensor) -> Tensor | None:
    """`weight⁻ᵀ`, where its condition allows it."""
    found: Tensor
    found, failed = torch.linalg.inv_ex(weight)
    if bool(failed) or not float(found.norm() * weight.norm()) < LARGEST_CONDITION:
        return None
    return found.t().contiguous()


class GateWeights:
    """Weights `(G * H, I)` of G gates that act on the same numbers."""

    def __init__(self, weight: Tensor, count: int) -> None:
        self.weight, self.each = weight, weight.chunk(count)

    def add(self, v: Tensor, factors: Sequence[Tensor], out: Tensor, own: Tensor | None = None) -> None:
        """`out += Σ_g factor_g (weight_g v + own_g)`: v `(I, B * k)`, out `(H, B * k)`, factors as of `per_step`."""
        one_sample = factors[0].dim() == 2
        batch = 1 if one_sample else factors[0].shape[1]
        if v.shape[1] < MERGE * batch or (len(self.each) == 1 and not one_sample):
            product = torch.mm(self.weight, v) if own is None else torch.addmm(own, self.weight, v)
            add_gates(product, factors, out)
            return
        if own is not None:
            add_gates(own, factors, out)
        if one_sample:
            out.addmm_(self.merged(factors), v)
        else:
            target = by_sample(out, factors[0]).transpose(0, 1)
            target.baddbmm_(self.merged(factors), by_sample(v, factors[0]).transpose(0, 1))

    def merged(self, factors: Sequence[Tensor]) -> Tensor:
        """`Σ_g factor_g weight_g`, `(H, I)` or, for more samples, `(B, H, I)`: one product for all."""
        columns = [factor if factor.dim() == 2 else factor.transpose(0, 1) for factor in factors]
        total = columns[0] * self.each[0]
        for weight, column in zip(self.each[1:], columns[1:], strict=True):
            total.addcmul_(weight, column)
        return total


def add_gates(own: Tensor, factors: Sequence[Tensor], out: Tensor) -> None:
    """`out += Σ_g factor_g own_g`: own `(G * H, B * k)`, out `(H, B * k)`, factors as of `per_step`."""
    target = by_sample(out, factors[0])
    gates = own if own.dim() == target.dim() else own.view(own.size(0), *target.shape[1:])
    for gate, factor in zip(gates.chunk(len(factors)), factors, strict=True):
        target.addcmul_(gate, factor)


def per_step(*planes: Tensor) -> list[tuple[Tensor, ...]]:
    """Factors `(T, B, H)` step by step, for columns: `(H, 1)`, or `(H, B, 1)` for more samples."""
    columns = [plane.transpose(1, 2) for plane in planes]
    if planes[0].shape[1] > 1:
        columns = [column.contiguous().unsqueeze(-1) for column in columns]
    return [column.unbind() for column in columns]


def by_sample(columns: Tensor, factor: Tensor) -> Tensor:
    """Columns `(H, B * k)` shaped to be multiplied with a factor of `per_step`."""
    return columns if factor.dim() == 2 else columns.view(columns.size(0), factor.size(1), -1)
