"""A chain of one-layer recurrent modules, for stacks whose layers have different sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class Stack(nn.Module):
    """`layers[k]` reads the output of `layers[k - 1]`, as the layers of `nn.LSTM` do.

    The call is that of `nn.RNN` and friends, except that states are tuples with one entry per layer,
    because tensors of different sizes cannot be stacked: `out, (state_0, state_1, ...) = stack(x, hx)`.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, input: Tensor, hx: Sequence[Any] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Run `input` `(T, B, I)` through every layer; `hx` holds one initial state per layer."""
        states = []
        for layer, state in zip(self.layers, hx or [None] * len(self.layers), strict=True):
            input, state = layer(input, state)
            states.append(state)
        return input, tuple(states)
