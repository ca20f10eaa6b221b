"""What every cell offers along a known trajectory: its linearised steps, and the pull-back through them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.cells.push_forward import PushForward
from unrolled.cells.weights import Weights


class Linearised(ABC):
    """A block of `T` steps of one layer and direction, linearised about the states it went through.

    State j is the state after step j - 1, so a block has the states 0 to T and step t leads from state t to
    state t + 1. The factors that the Jacobians of the steps are made of are worked out when the object is made, for
    all steps in one matrix product, as planes `(T, B, H)` that lie in `Buffers`. Cotangents are pulled back and
    tangents pushed forward by a few small products a step with these factors, and no autograd.

    Where a shorter sequence is over, x and h are 0 and so is every cotangent that comes in: the steps there are
    linearised like all others, and nothing flows through them.
    """

    weights: Weights

    @abstractmethod
    def pull_back(self) -> PullBack:
        """What carries cotangents from the last state to the first."""

    @abstractmethod
    def push_forward(self) -> PushForward:
        """What carries tangents from the first state to the last."""

    def alone(self) -> PushForward:
        """`push_forward` of the same slopes with each unit reading no other one: see `Weights.alone`."""
        block = copy.copy(self)
        block.weights = self.weights.alone()
        return block.push_forward()

    def of_weights(self, changes: Weights) -> Tensor:
        """What k changes of the weights move each step by, `(T, rows, B * k)`: `own` of `PushForward.step`.

        Each weight of `changes` has two more dimensions before its own, `(B, k)` for changes of each sample's own, or
        `(1, k)` where all samples have the same. A kind that has it says so: `Cell.moves_with_weights`.
        """
        raise NotImplementedError


class PullBack(ABC):
    """The transposed steps of a block. The cotangent has one slot per state, so that a step allocates nothing."""

    # Cotangents of the states as independent variables, one buffer (T + 1, B, P or H) per path. For an
    # LSTM, `c` counts what flows through the next cell state only, not through the hidden state beside it.
    cotangents: tuple[Tensor, ...]
    # Cotangents of the pre-activations, (T, B, blocks * H).
    delta: Tensor

    @abstractmethod
    def pull(self, first: int, last: int) -> None:
        """Carry the cotangent of state `last` down to `first`, adding to what the buffers hold there."""

    def totals(self) -> tuple[Tensor, ...]:
        """Per path `(T + 1, B, ·)`: total gradients, as autograd defines them, of states above `first`."""
        return self.cotangents

    @abstractmethod
    def add_gradients(self, power: Tensor | None, sums: dict[str, Tensor]) -> None:
        """Add the weight gradients of all steps, once; `power` `(T, B, 1)` weights each step and sample."""

    @abstractmethod
    def input_cotangent(self) -> Tensor:
        """The cotangent of the inputs, `(T, B, I)`."""


class Buffers:
    """Memory that one block after the other is worked out in.

    The first touch of fresh memory costs several times what the arithmetic on it does, so none is let go.
    """

    def __init__(self, steps: int, like: Tensor) -> None:
        self.steps, self.like = steps, like
        self.named: dict[str, Tensor] = {}
        self._unbound: dict[tuple[str, int], list[tuple[Tensor, ...]]] = {}

    def __call__(self, name: str, steps: int, *sizes: int) -> Tensor:
        """The buffer of that name, uninitialised, cut to `steps`."""
        if name not in self.named:
            self.named[name] = self.like.new_empty(self.steps + 1, *sizes)
        return self.named[name][:steps]

    def planes(self, name: str, count: int, steps: int, *sizes: int) -> Tensor:
        """Several buffers in one tensor `(count, steps, ...)`, each contiguous."""
        if name not in self.named:
            self.named[name] = self.like.new_empty(count, self.steps + 1, *sizes)
        return self.named[name][:, :steps]

    def step_by_step(self, name: str, steps: int, *parts: Tensor) -> list[tuple[Tensor, ...]]:
        """Each of the parts, which are buffers of a block of so many steps, as one view for each step, under a name.

        Made once for all blocks of a length: they lie in the same memory, and the views take longer to make
        than some of the arithmetic on them.
        """
        if (name, steps) not in self._unbound:
            self._unbound[name, steps] = [part.unbind() for part in parts]
        return self._unbound[name, steps]


def moved(changes: Sequence[tuple[Tensor, Tensor | None]], rows: Sequence[Tensor]) -> Tensor:
    """`Σ V row + v` for pairs of changed weights `(B or 1, k, N, I)` and biases `(B or 1, k, N)`, rows `(T, B, I)`.

    It is `(B, T, k * N)`.
    """
    total: Tensor | None = None
    for (weight, bias), row in zip(changes, rows, strict=True):
        samples, turned = row.transpose(0, 1), weight.flatten(1, 2).transpose(1, 2)
        part = samples @ turned if bias is None else torch.add(samples @ turned, bias.flatten(1).unsqueeze(1))
        total = part if total is None else total.add_(part)
    if total is None:
        raise TypeError("expected weights, got none")
    return total


def as_columns(rows: Tensor, count: int) -> Tensor:
    """`(B, T, k * N)` as columns of each step `(T, N, B * k)`; k is `count`."""
    batch, steps, width = rows.shape
    return rows.view(batch, steps, count, width // count).permute(1, 3, 0, 2).flatten(2)


def summed(delta: Tensor, power: Tensor | None) -> Tensor:
    """`Σ power δ` over all steps and samples: the gradient of a bias."""
    rows = delta.reshape(-1, delta.shape[-1])
    return rows.sum(0) if power is None else power.reshape(-1) @ rows
