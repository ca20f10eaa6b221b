"""What a diagnosis is of: a network described by its sizes, or one that somebody else wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor

from unrolled.errors import (
    ImplementationError,
    InvalidValueError,
    UnrolledError,
    is_out_of_memory,
    out_of_memory,
)
from unrolled.networks.model import UserModel
from unrolled.networks.record import NetworkRecord
from unrolled.networks.textbook import Network
from unrolled.plugins import THEIRS, first_line

Subject = Network | UserModel


def records_of(networks: Iterable[Subject]) -> tuple[NetworkRecord, ...]:
    """What results say of them, each once. Raises `InvalidValueError` where two have one name."""
    found: dict[str, NetworkRecord] = {}
    for network in networks:
        record = network.record()
        if found.setdefault(network.name, record) != record:
            raise InvalidValueError(
                f"networks: expected a name for each, got two of the name {network.name!r}; rename one"
            )
    return tuple(found.values())


@contextmanager
def their_errors(network: Subject, inputs: object) -> Iterator[None]:
    """Whatever somebody else's model or cell raises inside becomes an `ImplementationError` that names it.

    Memory that ran out, in whatever network, is an `OutOfMemoryError`.
    """
    try:
        yield
    except UnrolledError:
        raise
    except THEIRS as error:
        if is_out_of_memory(error):
            raise out_of_memory(f"network {network.name}", error) from error
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
