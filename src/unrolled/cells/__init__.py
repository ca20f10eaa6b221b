"""What a recurrence is: one file for a kind of cell, and the registry, which loads a kind when it is asked for."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.plugins import resolve

if TYPE_CHECKING:
    from torch import nn

    from unrolled.cells.cell import Cell

# Name -> where its `Cell` is. A path, not the class, so that the names are known without torch.
_KINDS = {
    "rnn_tanh": "unrolled.cells.rnn:TanhRNN",
    "rnn_relu": "unrolled.cells.rnn:ReluRNN",
    "gru": "unrolled.cells.gru:GRU",
    "lstm": "unrolled.cells.lstm:LSTM",
}

CELLS = tuple(_KINDS)  # the recurrences of torch.nn

# How many gates they have, for whoever counts without torch; elsewhere `len(cell_named(name).gates)`.
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}


def register(name: str, where: str) -> None:
    """Add a kind: `where` is the `package.module:Name` of its subclass of `Cell`, loaded when it is asked for.

    Raises `InvalidValueError` for a name that is taken, or no name, and for what is no such path.
    """
    if name in _KINDS or not name.isidentifier():
        raise InvalidValueError(
            f"cell: expected a new name of letters, digits and _, got {name!r}; choose another"
        )
    if not is_path(where):
        raise InvalidValueError(f"cell {name}: expected package.module:Name, got {where!r}; name both")
    _KINDS[name] = where


def cell_named(name: str) -> Cell:
    """The kind of that name. Raises `InvalidValueError` for any other name."""
    if name not in _KINDS:
        raise InvalidValueError(f"cell: expected one of {', '.join(_KINDS)}, got {name!r}")
    return _load(_KINDS[name])


def cell_of(module: nn.Module) -> Cell:
    """The kind that a module runs: one of torch's fused modules, or one of its cells.

    Raises `InvalidTypeError` for a module that runs none.
    """
    for name in reversed(_KINDS):  # what was added last may be a special case of what was there
        if cell_named(name).is_run_by(module):
            return cell_named(name)
    raise InvalidTypeError(
        f"module: expected an nn.RNN, nn.GRU, nn.LSTM or one of their cells, got {type(module).__name__}; pass that "
        "part of the model"
    )


def check_cell(name: object) -> None:
    """Raise `InvalidValueError` unless `name` is that of a kind, or the path of somebody's own cell."""
    if not isinstance(name, str) or not (name in _KINDS or is_path(name)):
        raise InvalidValueError(
            f"cell: expected one of {', '.join(_KINDS)}, or package.module:Name of a cell of your own, got {name!r}"
        )


def is_path(name: str) -> bool:
    """Whether it has the form `package.module:Name`."""
    module, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in [*module.split("."), attribute])


def short_name(name: str) -> str:
    """For labels and names of files: a path without its module."""
    return name.rpartition(":")[2]


def title_of(name: str) -> str:
    """What tables and plots call a cell, by its name or its path."""
    return short_name(name) if is_path(name) else cell_named(name).title


@cache
def _load(where: str) -> Cell:
    kind: type[Cell] = resolve(where, "cell")  # type: ignore[assignment]
    return kind()
