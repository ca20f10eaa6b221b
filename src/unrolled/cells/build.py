"""The one builder of recurrent modules: torch's own, and layers and directions around anybody's cell."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.cells import cell_named, is_path
from unrolled.cells.own import initial_state, output_and_state, parts_of
from unrolled.errors import (
    ImplementationError,
    InvalidTypeError,
    InvalidValueError,
    UnrolledError,
    is_out_of_memory,
    out_of_memory,
)
from unrolled.hearing import heard
from unrolled.plugins import THEIRS, first_line, resolve
from unrolled.torch_settings import settings_kept

Make = Callable[[int, int], nn.Module]
TRIED_BATCH = 2  # samples that a new cell is tried out on: more than one, and as few as can be


def build(
    cell: str,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    *,
    bidirectional: bool = False,
    bias: bool = True,
    batch_first: bool = False,
    proj_size: int = 0,
    dropout: float = 0.0,
) -> nn.Module:
    """The module of a cell, by the name of one of torch's or the path of anybody's, with weights in float64.

    They are drawn from torch's global generator. torch's own are fused modules, anybody's are `Unrolled`, which has no
    `bias`, `batch_first`, `proj_size` and `dropout` to choose. Raises `ImplementationError` for a cell that cannot be
    imported, made, or called.
    """
    if is_path(cell):
        return Unrolled(_in_float64(load_cell(cell)), input_size, hidden_size, num_layers, bidirectional)
    kind = cell_named(cell)
    if kind.fused is None and kind.stepped is not None:
        return Unrolled(_in_float64(kind.stepped), input_size, hidden_size, num_layers, bidirectional)
    options: dict[str, Any] = {"proj_size": proj_size} if proj_size else {}
    fused: Any = kind.fused  # torch's classes differ in their types
    module: nn.Module = fused(
        input_size,
        hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        bias=bias,
        batch_first=batch_first,
        dropout=dropout,
        dtype=torch.float64,
        **kind.options,
        **options,
    )
    return module


def load_cell(path: str) -> Make:
    """What makes a cell, at `package.module:Name`. Raises `ImplementationError` where there is nothing such."""
    with undisturbed():
        make = resolve(path, "cell")
    if not callable(make):
        raise ImplementationError(
            f"cell {path}: expected a class, or a function (input_size, hidden_size) -> nn.Module, got "
            f"{type(make).__name__}; name the class of the cell"
        )
    return make


@contextmanager
def undisturbed() -> Iterator[None]:
    """Somebody else's code may print, seed, and change torch's settings inside: nothing of it stays."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with settings_kept(), torch.random.fork_rng(devices=[]), heard(), redirect_stderr(io.StringIO()):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def _in_float64(make: Make) -> Make:
    """The same with float64 as the dtype of weights that say nothing of theirs."""

    def made(input_size: int, hidden_size: int) -> nn.Module:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            return make(input_size, hidden_size)
        finally:
            torch.set_default_dtype(before)

    made.__name__ = _name_of(make)
    return made


def _name_of(make: Make) -> str:
    return getattr(make, "__name__", type(make).__name__)


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

    Every cell is tried out as it is made, so that what is wrong with it is said then, by an `UnrolledError`.
    """

    def __init__(
        self,
        make: Make,
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
        self.cells = nn.ModuleList(
            tried(make, width, hidden_size) for width in widths for _ in range(directions)
        )

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
            first = self._first(cell, len(finals), hx, input)
            output, final = self.scan(cell, x if direction == "forward" else x.flip(0), first)
            outputs.append(output if direction == "forward" else output.flip(0))
            finals.append(final)
        return torch.cat(outputs, dim=-1), _stacked(finals)

    def scan(self, cell: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Call `cell` on each step of `x` `(T, B, I)`: its outputs `(T, B, H)`, and the last state."""
        name, outputs = type(cell).__name__, []
        for x_t in x:
            output, state = output_and_state(cell(x_t, state), state, name)
            outputs.append(output)
        return torch.stack(outputs), state

    def _first(self, cell: nn.Module, row: int, hx: Any, like: Tensor) -> Any:
        if hx is None:
            return first_state(cell, like.shape[1], like)
        if isinstance(hx, Tensor):
            return hx[row]
        return tuple(part[row] for part in parts_of(hx, "hx"))


def first_state(cell: nn.Module, batch_size: int, like: Tensor) -> Any:
    """What the first call of a cell is given: `initial_state`, with numbers of the dtype and device of `like`."""
    state = initial_state(cell, batch_size)
    if state is None:
        return None
    parts = tuple(
        part.to(like.device, like.dtype if part.is_floating_point() else part.dtype)
        for part in parts_of(state, f"initial_state of {type(cell).__name__}")
    )
    return parts[0] if isinstance(state, Tensor) else parts


def tried(make: Make, input_size: int, hidden_size: int) -> nn.Module:
    """A new cell that a copy was tried out of for two steps. Raises an `UnrolledError` that says what is wrong."""
    name = _name_of(make)
    try:
        cell: object = make(input_size, hidden_size)
    except THEIRS as error:
        if is_out_of_memory(error):
            raise out_of_memory(f"{name}({input_size}, {hidden_size})", error) from error
        raise ImplementationError(
            f"{name}: expected {name}({input_size}, {hidden_size}), input_size and hidden_size, to make a cell, got "
            f"{type(error).__name__}: {first_line(error)}; give other arguments a default"
        ) from error
    if not isinstance(cell, nn.Module):
        raise ImplementationError(f"{name}: expected an nn.Module, got {type(cell).__name__}; make it one")
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            _try_out(copy.deepcopy(cell), input_size, hidden_size, name)
    except UnrolledError:
        raise
    except THEIRS as error:
        if is_out_of_memory(error):
            raise out_of_memory(f"{name}({input_size}, {hidden_size})", error) from error
        raise ImplementationError(
            f"{name}: expected a cell that is called as cell(x_t, state), got {type(error).__name__}: "
            f"{first_line(error)}; call it by itself to see where"
        ) from error
    return cell


def _try_out(cell: nn.Module, input_size: int, hidden_size: int, name: str) -> None:
    like = next((p for p in cell.parameters() if p.is_floating_point()), torch.empty(0))
    x = like.new_zeros(TRIED_BATCH, input_size)
    state = first_state(cell, TRIED_BATCH, x)
    for _ in range(2):  # the second from a state that the cell itself gave
        tensors = (x, *(() if state is None else parts_of(state)))
        versions = [tensor._version for tensor in tensors]
        output, state = output_and_state(cell(x, state), state, name)
        if versions != [tensor._version for tensor in tensors]:
            raise InvalidValueError(
                f"{name}: expected a cell that leaves its input and its state alone, got one that writes into them; "
                "return new tensors"
            )
        if not isinstance(output, Tensor):
            raise InvalidTypeError(
                f"{name}: expected a tensor as its output, got {type(output).__name__}; return (output, state)"
            )
        if output.shape != (TRIED_BATCH, hidden_size):
            raise InvalidValueError(
                f"{name}: expected an output (B, hidden_size), here {(TRIED_BATCH, hidden_size)}, got "
                f"{tuple(output.shape)}; return (output, state) where the state has another size"
            )


def _stacked(states: list[Any]) -> Any:
    """One state with layers and directions first."""
    if isinstance(states[0], Tensor):
        return torch.stack(states)
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))
