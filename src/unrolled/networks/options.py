"""The options of torch's modules that not every workload can have: biases, a layout, a projection, dropout, packing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from unrolled.networks.workload import Workload

# What a workload has that nobody asked for anything else.
PLAIN = {"bias": True, "batch_first": False, "proj_size": 0, "dropout": 0.0, "packed": False}


def options(workload: Workload) -> dict[str, object]:
    """The options that are not torch's defaults, by their names."""
    return {name: value for name, plain in PLAIN.items() if (value := getattr(workload, name)) != plain}


def check_options(workload: Workload) -> None:
    """Raise `InvalidValueError` or `InvalidTypeError` for options that the workload cannot have."""
    proj_size, dropout = workload.proj_size, workload.dropout
    if isinstance(proj_size, bool) or not isinstance(proj_size, int):
        raise InvalidTypeError(f"proj_size: expected an integer, got {proj_size!r}")
    if isinstance(dropout, bool) or not isinstance(dropout, int | float):
        raise InvalidTypeError(f"dropout: expected a probability, got {dropout!r}")
    if workload.is_own and (given := options(workload)):
        said = ", ".join(f"{name}={value}" for name, value in given.items())
        raise InvalidValueError(
            f"cell {workload.cell}: expected an input (T, B, I) and the cell's own biases, got {said}; leave that out"
        )
    if proj_size and workload.cell != "lstm":
        raise InvalidValueError(
            f"proj_size: expected cell lstm, got {workload.cell}; no other cell has a projection"
        )
    smallest = min(workload.hidden_sizes)
    if not 0 <= proj_size < smallest:
        raise InvalidValueError(
            f"proj_size: expected 0 (none) to {smallest - 1}, below hidden_size, got {proj_size}"
        )
    if not 0 <= dropout < 1:
        raise InvalidValueError(f"dropout: expected a probability from 0 to below 1, got {dropout}")
    if dropout and (workload.layers == 1 or isinstance(workload.hidden_size, tuple)):
        raise InvalidValueError(
            f"dropout: expected 0 but for several layers of one size, between which torch drops, got {dropout}; choose "
            "two layers or more"
        )
    object.__setattr__(workload, "dropout", float(dropout))
