"""What every cell offers beside its pull-back: tangents pushed forward through its linearised steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from unrolled.gradients.recurrence.weights import Weights

# Tangents per sample from which on it pays to add up the gates' weights before the product.
MERGE = 16


# Above this condition, weights are not inverted: what they map next to 0 would come back as rounding errors.
LARGEST_CONDITION = 1e8


class Push(Protocol):
    """A stretch of linearised steps of one system."""

    def __call__(self, t: int, v: Tensor, out: Tensor) -> None:
        """Write to `out` `(B * k, n)` what the tangents `v`, as rows, become in step t."""


class PushForward(ABC):
    """A block of `T` steps of one layer and direction, linearised to push tangents through.

    Tangents are rows: `(B * k, n)` are k directions in the state of each sample in turn, which is `h`, or
    `(h, c)` side by side for an LSTM. Several layers make one system when each also takes what its input
    `x_t` moves by: the new `h` of the layer below, at the same step.
    """

    output_size: int  # of h, which comes first in the state
    size: int  # of the whole state

    @abstractmethod
    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None) -> None:
        """About inputs `x` `(T, B, I)`, states `h` `(T + 1, B, P)`, first cell state `c` `(B, H)`."""

    @abstractmethod
    def push(self, t: int, v: Tensor, below: Tensor | None, out: Tensor) -> None:
        """Write to `out` `(B * k, n)` what tangents `v` of state t and `below` `(B * k, I)` of `x_t` become."""

    def inverse(self) -> Push | None:
        """The steps of `J_t⁻ᵀ`, in which what shrank most grows most; None where a step cannot be inverted."""
        return None


class Layers:
    """The steps of a stack of layers as one system, whose Jacobian is block lower triangular."""

    def __init__(self, layers: Sequence[PushForward]) -> None:
        self.layers = layers

    def __call__(self, t: int, v: Tensor, out: Tensor) -> None:
        """One step: each layer takes what the one below has just become."""
        if len(self.layers) == 1:
            self.layers[0].push(t, v, None, out)
            return
        below, first = None, 0
        for layer in self.layers:
            last = first + layer.size
            layer.push(t, v[:, first:last], below, out[:, first:last])
            below, first = out[:, first : first + layer.output_size], last

    def inverse(self) -> Push | None:
        """`J_t⁻ᵀ`, of a single layer that can be inverted."""
        return self.layers[0].inverse() if len(self.layers) == 1 else None


def inverted(weight: Tensor) -> Tensor | None:
    """`weight⁻¹`, where its condition allows it."""
    found: Tensor
    found, failed = torch.linalg.inv_ex(weight)
    if bool(failed) or not float(found.norm() * weight.norm()) < LARGEST_CONDITION:
        return None
    return found


class Gates:
    """Weights `(G * H, I)` of G gates that act on the same numbers."""

    def __init__(self, weight: Tensor, count: int) -> None:
        self.rows = weight.chunk(count)
        self.columns = weight.t().contiguous()  # a product with few rows is twice as fast this way

    def add(self, v: Tensor, factors: Sequence[Tensor], out: Tensor) -> None:
        """`out += Σ_g factor_g (weight_g v)`: v `(B * k, I)`, out `(B * k, H)`, factors as of `per_step`."""
        batch = len(factors[0])
        if len(v) < MERGE * batch or len(self.rows) == 1:
            product, target = torch.mm(v, self.columns), by_sample(out, factors[0])
            for gate, factor in zip(product.chunk(len(self.rows), dim=-1), factors, strict=True):
                target.addcmul_(by_sample(gate, factor), factor)
            return
        merged = self.merged(factors)
        if batch == 1:
            out.addmm_(v, merged.t())
        else:
            by_sample(out, factors[0]).baddbmm_(by_sample(v, factors[0]), merged.mT)

    def merged(self, factors: Sequence[Tensor]) -> Tensor:
        """`Σ_g factor_g weight_g`, `(H, I)` or, for more samples, `(B, H, I)`: one product for all."""
        total = factors[0].mT * self.rows[0]
        for row, factor in zip(self.rows[1:], factors[1:], strict=True):
            total.addcmul_(row, factor.mT)
        return total


def per_step(*planes: Tensor) -> list[tuple[Tensor, ...]]:
    """Factors `(T, B, H)` step by step, to be multiplied with rows: `(B, 1, H)`, `(1, H)` for one sample."""
    return [(plane if plane.shape[1] == 1 else plane.unsqueeze(2)).unbind() for plane in planes]


def by_sample(rows: Tensor, factor: Tensor) -> Tensor:
    """Rows `(B * k, H)` shaped to be multiplied with a factor of `per_step`."""
    return rows if factor.dim() == 2 else rows.view(len(factor), -1, rows.shape[-1])
