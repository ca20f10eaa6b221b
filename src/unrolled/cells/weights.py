"""The weights of one layer and direction of a recurrent module, under `torch.nn`'s names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


@dataclass(frozen=True)
class Weights:
    """Weights `(G*H, I)`, `(G*H, P)` for G gates, biases `(G*H,)`, projection `(P, H)`; else None."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    weight_hr: Tensor | None

    @classmethod
    def of(cls, named: Mapping[str, Tensor], layer: int, reverse: bool) -> Weights:
        """Those of a layer among what `read` gave, detached: they share the memory and record no graph."""
        found = [named.get(full) for full in names(layer, reverse).values()]
        return cls._map(found, lambda weight: weight.detach())

    @classmethod
    def each(cls, module: nn.RNNBase) -> list[Weights]:
        """Those of every layer and direction, ordered as the initial state: layer 0 forward, layer 0 reverse, ...

        They are the very tensors that the module works with, its parameters, not copies, nor detached.
        """
        named = read(module)
        return [
            cls(*(named.get(full) for full in names(layer, reverse).values()))  # type: ignore[arg-type]
            for layer in range(module.num_layers)
            for reverse in ((False, True) if module.bidirectional else (False,))
        ]

    def alone(self) -> Weights:
        """The same where each unit reads no other one: of each gate's recurrent weights the diagonal."""
        hidden = self.weight_hh.shape[1]
        gates = [torch.diag(gate.diagonal()) for gate in self.weight_hh.chunk(len(self.weight_hh) // hidden)]
        return replace(self, weight_hh=torch.cat(gates))

    def all(self) -> list[Tensor | None]:
        """By `NAMES`."""
        return [getattr(self, name) for name in NAMES]

    def flat(self) -> list[Tensor]:
        """In the order that `torch.lstm` and friends take them."""
        return [weight for weight in self.all() if weight is not None]

    def to(self, dtype: torch.dtype) -> Weights:
        """The same in another dtype."""
        return self._map(self.all(), lambda weight: weight.to(dtype))

    @classmethod
    def _map(cls, weights: list[Any], change: Callable[[Tensor], Tensor]) -> Weights:
        return cls(*(None if weight is None else change(weight) for weight in weights))  # type: ignore[arg-type]

    def named(self) -> dict[str, Tensor]:
        """Those that there are, by short name."""
        return {name: weight for name in NAMES if (weight := getattr(self, name)) is not None}

    def from_x(self, x: Tensor) -> Tensor:
        """`W x + b_ih` of all gates: `(B, I)` to `(B, G*H)`."""
        return F.linear(x, self.weight_ih, self.bias_ih)

    def from_h(self, h: Tensor) -> Tensor:
        """`U h + b_hh` of all gates: `(B, P)` to `(B, G*H)`."""
        return F.linear(h, self.weight_hh, self.bias_hh)

    @property
    def bias(self) -> Tensor | None:
        """The sum of the two biases, `(G*H,)`."""
        return None if self.bias_ih is None or self.bias_hh is None else self.bias_ih + self.bias_hh


def read(module: nn.RNNBase) -> dict[str, Tensor]:
    """The tensors that the forward of a module works with now, by the names of its attributes.

    They are its parameters, or what a parametrisation or a wrapper has made of some, connected to those.
    """
    update: Callable[[], None] = module._update_flat_weights
    update()
    return used(module)


def used(module: nn.RNNBase) -> dict[str, Tensor]:
    """The tensors that the last forward of a module worked with.

    Unlike `read` it asks no parametrisation, some of which go on by a step each time that they are asked.
    """
    weights: Any = module._flat_weights
    return dict(zip(module._flat_weights_names, weights, strict=True))


def names(layer: int, reverse: bool) -> dict[str, str]:
    """Short name -> the attribute of the module, such as `weight_ih` -> `weight_ih_l1_reverse`."""
    suffix = f"_l{layer}" + "_reverse" * reverse
    return {name: name + suffix for name in NAMES}


def affine(inputs: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """`inputs @ weight.T + bias` over all steps and samples in one matrix product, into `out`."""
    rows, product = inputs.reshape(-1, inputs.shape[-1]), out.view(-1, out.shape[-1])
    if bias is None:
        torch.mm(rows, weight.t(), out=product)
    else:
        torch.addmm(bias, rows, weight.t(), out=product)
    return out


def add_outer(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add `Σ_{t,b} left_{t,b} right_{t,b}ᵀ` in one matrix product: a weight gradient from all steps at once."""
    total.addmm_(left.reshape(-1, left.shape[-1]).t(), right.reshape(-1, right.shape[-1]))
