"""Layers and directions around a cell, called as `nn.RNN` and its kin are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.own import initial_state, output_and_state, parts_of
from unrolled.errors import InvalidTypeError, InvalidValueError


def fused_of(cell: nn.RNNCellBase) -> nn.RNNBase:
    """The fused module of one layer that has the parameters of one of torch's cells, not copies of them."""
    options: dict[str, Any] = {"bias": cell.bias, "device": "meta"}
    if isinstance(cell, nn.RNNCell):
        module: nn.RNNBase = nn.RNN(
            cell.input_size, cell.hidden_size, nonlinearity=cell.nonlinearity, **options
        )
    else:
        kind = nn.GRU if isinstance(cell, nn.GRUCell) else nn.LSTM
        module = kind(cell.input_size, cell.hidden_size, **options)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        if getattr(cell, name) is not None:
            setattr(module, f"{name}_l0", getattr(cell, name))
    return module.train(cell.training)


class Unrolled(nn.Module):
    """A recurrence unrolled over time: one cell for each layer and direction, called once a step.

    `make(input_size, hidden_size)` makes a cell, see `unrolled.cells.own` for how it is called; its output has
    `hidden_size` numbers. The call is that of `nn.RNN`: `out, state = module(input, hx)`, `input` `(T, B, I)`, `out`
    `(T, B, D * H)`. A state is a tensor, or a tuple of them, with layers and directions first, `(L * D, B, ...)`.
    """

    def __init__(
        self,
        make: Callable[[int, int], nn.Module],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.bidirectional, self.batch_first = num_layers, bidirectional, False
        directions = 2 if bidirectional else 1
        widths = [input_size] + [directions * hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList(make(width, hidden_size) for width in widths for _ in range(directions))

    def each(self) -> Iterator[tuple[int, str, nn.Module]]:
        """Every cell with its layer, from 0, and its direction."""
        directions = ("forward", "reverse")[: 2 if self.bidirectional else 1]
        for number, cell in enumerate(self.cells):
            layer, way = divmod(number, len(directions))
            yield layer, directions[way], cell

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Run `input` `(T, B, I)` through every layer and direction."""
        if input.dim() != 3 or input.shape[-1] != self.input_size:
            raise InvalidValueError(
                f"input: expected (T, B, {self.input_size}), got {tuple(input.shape)}; reshape the input"
            )
        finals: list[Any] = []
        outputs: list[Tensor] = []
        for layer, direction, cell in self.each():
            if direction == "forward":
                x = input if layer == 0 else torch.cat(outputs, dim=-1)
                outputs = []
            first = self._first(cell, len(finals), hx, input.shape[1])
            output, final = scan(cell, x if direction == "forward" else x.flip(0), first)
            outputs.append(output if direction == "forward" else output.flip(0))
            finals.append(final)
        return torch.cat(outputs, dim=-1), _stacked(finals)

    def _first(self, cell: nn.Module, row: int, hx: Any, batch: int) -> Any:
        if hx is None:
            return initial_state(cell, batch)
        if isinstance(hx, Tensor):
            return hx[row]
        return tuple(part[row] for part in parts_of(hx, "hx"))


def scan(cell: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Call `cell` on each step of `x` `(T, B, I)`: its outputs `(T, B, H)`, and the last state."""
    name, outputs = type(cell).__name__, []
    for x_t in x:
        output, state = output_and_state(cell(x_t, state), state, name)
        outputs.append(output)
    if not isinstance(outputs[0], Tensor):
        raise InvalidTypeError(
            f"{name}: expected a tensor as its output, got {type(outputs[0]).__name__}; return (output, state)"
        )
    return torch.stack(outputs), state


def _stacked(states: list[Any]) -> Any:
    """One state with layers and directions first."""
    if isinstance(states[0], Tensor):
        return torch.stack(states)
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))
