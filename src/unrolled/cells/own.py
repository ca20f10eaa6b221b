"""A cell that somebody else wrote: an `nn.Module` that is called as torch's own cells are.

    state = cell(x_t, state)            or            output, state = cell(x_t, state)

The state is a tensor, or a tuple of them. The first one is what `cell.initial_state(batch_size)` gives, where
the cell has that method, and None elsewhere, as torch's cells take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import InvalidTypeError, InvalidValueError

State = Tensor | tuple[Tensor, ...]


def parts_of(state: Any, what: str = "state") -> tuple[Tensor, ...]:
    """A state as a tuple. Raises `InvalidTypeError` for what is none."""
    parts = (state,) if isinstance(state, Tensor) else state
    is_sequence = isinstance(parts, tuple | list) and len(parts) > 0
    if not is_sequence or not all(isinstance(part, Tensor) for part in parts):
        raise InvalidTypeError(
            f"{what}: expected a tensor or a tuple of tensors, got {_described(state)}; take and return one "
            "of these"
        )
    return tuple(parts)


def output_and_state(result: Any, given: Any, name: str) -> tuple[Any, State]:
    """What a call gave, `state` or `(output, state)`, told apart by the state that the call was given.

    Without one, a tuple of tensors is a state, and a tensor with a tuple after it is an output with its state.
    The output of a cell that gives none is the first part of its state. Raises `InvalidValueError` where
    neither reading gives a state shaped as the given one.
    """
    if _alike(result, given):  # nearly always, and so without looking further
        return (result if isinstance(result, Tensor) else result[0]), result
    for output, state in _readings(result):
        if _is_state(state) and (given is None or _fits(state, given)):
            return parts_of(state)[0] if output is None else output, state
    if given is None:
        raise InvalidTypeError(
            f"{name}: expected a cell that returns its state, or (output, state), got {_described(result)}; a "
            "state is a tensor or a tuple of tensors"
        )
    raise InvalidValueError(
        f"{name}: expected a state shaped as it came, {_described(given)}, got {_described(result)}; return the "
        "whole next state, or (output, state)"
    )


def _alike(result: Any, given: Any) -> bool:
    """Whether both are a tensor, or tuples of as many, of the same shapes."""
    if isinstance(result, Tensor):
        return isinstance(given, Tensor) and result.shape == given.shape
    if type(result) is not tuple or type(given) is not tuple or len(result) != len(given):
        return False
    return all(
        isinstance(new, Tensor) and isinstance(old, Tensor) and new.shape == old.shape
        for new, old in zip(result, given, strict=True)
    )


def _readings(result: Any) -> Sequence[tuple[Any, Any]]:
    """The ways to read a result, as (output or None, state), the likelier first."""
    if isinstance(result, tuple) and len(result) == 2 and not isinstance(result[1], Tensor):
        return [(result[0], result[1])]
    if isinstance(result, tuple) and len(result) == 2:
        return [(None, result), (result[0], result[1])]
    return [(None, result)]


def _is_state(state: Any) -> bool:
    if isinstance(state, Tensor):
        return True
    return isinstance(state, tuple | list) and len(state) > 0 and all(isinstance(s, Tensor) for s in state)


def _fits(state: Any, given: Any) -> bool:
    """Whether both are one tensor or as many parts, and what was given has the same shapes or expands to them."""
    if isinstance(state, Tensor) != isinstance(given, Tensor):
        return False
    after, before = parts_of(state), parts_of(given)
    return len(after) == len(before) and all(_expands(old, new) for old, new in zip(before, after, strict=True))


def _expands(before: Tensor, after: Tensor) -> bool:
    if before.shape == after.shape:
        return True
    try:
        broadcast: Any = torch.broadcast_shapes
        return bool(broadcast(before.shape, after.shape) == after.shape)
    except RuntimeError:
        return False


def _described(value: Any) -> str:
    """Shapes for tensors and tuples of them, else the name of the type."""
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, tuple | list) and any(isinstance(part, Tensor | tuple) for part in value):
        return f"({', '.join(_described(part) for part in value)})"
    return type(value).__name__


def paths_of(parts: int) -> tuple[str, ...]:
    """The names of the parts of a state: `h`, or `h` and `c`, or `0`, `1`, `2` and so on."""
    return {1: ("h",), 2: ("h", "c")}.get(parts, tuple(map(str, range(parts))))


def initial_state(cell: torch.nn.Module, batch_size: int) -> Any:
    """What the first call is given: `cell.initial_state(batch_size)`, or None."""
    make = getattr(cell, "initial_state", None)
    return None if make is None else make(batch_size)
