"""What a diagnosis is of: a network described by its sizes, or one that somebody else wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from unrolled.errors import ImplementationError, UnrolledError
from unrolled.networks.model import UserModel, model_sizes
from unrolled.networks.textbook import Network
from unrolled.networks.workload import Workload
from unrolled.plugins import first_line

Subject = Network | UserModel


def sizes_of(network: dict[str, Any]) -> str:
    """The sizes of a network by its record, for the foot of a plot."""
    return Network.from_dict(network).sizes if "workload" in network else model_sizes(network)


def units_of(network: dict[str, Any]) -> str:
    """`64 hidden units` by a network's record, for the title of a table; nothing where only the model knows."""
    if "workload" not in network:
        return ""
    sizes = Workload.from_dict(network["workload"]).hidden_sizes
    return f"{', '.join(map(str, dict.fromkeys(sizes)))} hidden units"


@contextmanager
def their_errors(network: Subject, inputs: Any) -> Iterator[None]:
    """Whatever somebody else's model or cell raises inside becomes an `ImplementationError` that names it."""
    try:
        yield
    except UnrolledError:
        raise
    except Exception as error:  # a given model may raise anything
        shape = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        got = f"got {type(error).__name__}: {first_line(error)}"
        if not isinstance(network, Network):
            raise ImplementationError(
                f"model {network.name}: expected a forward that takes an input {shape}, {got}; let the factory return "
                "(model, input)"
            ) from error
        if not network.workload.is_own:
            raise
        raise ImplementationError(
            f"cell {network.workload.cell}: expected steps that can be run and differentiated on an input {shape}, "
            f"{got}; call it by itself to see where"
        ) from error
