"""`cells`: a plain Python loop over `nn.RNNCell`, `nn.GRUCell` or `nn.LSTMCell`, as people write it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.implementations.loop import Loop, State
from unrolled.implementations.parameters import LayerParameters


class Cells(Loop):
    """One cell per layer and direction, called once per step."""

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__(reference)
        self.cells = nn.ModuleList(_cell(self.cell, parameters) for parameters in self.layers)

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """`h_t = cell(x_t, h_{t-1})`, step by step."""
        cell = self.cells[k]
        outputs = []
        if self.cell == "lstm":
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


def _cell(kind: str, parameters: LayerParameters) -> nn.Module:
    """A `torch.nn` cell whose parameters are the given ones, not copies."""
    input_size = parameters.weight_ih.shape[1]
    hidden_size = parameters.weight_hh.shape[1]
    bias = parameters.bias_ih is not None
    cell: nn.RNNCellBase
    if kind.startswith("rnn"):
        nonlinearity = kind.removeprefix("rnn_")
        cell = nn.RNNCell(input_size, hidden_size, bias, nonlinearity=nonlinearity, device="meta")
    else:
        cell = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}[kind](input_size, hidden_size, bias, device="meta")
    for name, parameter in vars(parameters).items():
        setattr(cell, name, parameter)
    return cell


def build(reference: nn.RNNBase) -> nn.Module:
    """A loop of cells with the parameters of `reference`."""
    return Cells(reference)
