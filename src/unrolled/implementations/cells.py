"""`cells`: a plain Python loop over `nn.RNNCell`, `nn.GRUCell` or `nn.LSTMCell`, as people write it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.cells import cell_named
from unrolled.cells.cell import State
from unrolled.cells.weights import Weights
from unrolled.implementations.loop import Loop


class Cells(Loop):
    """One cell per layer and direction, called once per step."""

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__(reference)
        self.cells = nn.ModuleList(_cell(self.cell, weights) for weights in self.layers)

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """`h_t = cell(x_t, h_{t-1})`, step by step."""
        cell = self.cells[k]
        outputs = []
        if self.parts == 2:
            h, c = state
            for x_t in x:
                h, c = cell(x_t, (h, c))
                outputs.append(h)
            return torch.stack(outputs), (h, c)
        (h,) = state
        for x_t in x:
            h = cell(x_t, h)
            outputs.append(h)
        return torch.stack(outputs), (h,)


def _cell(name: str, weights: Weights) -> nn.Module:
    """A `torch.nn` cell whose parameters are the given ones, not copies."""
    kind = cell_named(name)
    sizes = (weights.weight_ih.shape[1], weights.weight_hh.shape[1])
    cell: nn.Module = kind.stepped(*sizes, bias=weights.bias_ih is not None, device="meta", **kind.options)  # type: ignore[misc]
    for short, parameter in weights.named().items():
        setattr(cell, short, parameter)
    return cell


def build(reference: nn.RNNBase) -> nn.Module:
    """A loop of cells with the parameters of `reference`."""
    return Cells(reference)
