"""From a name such as `hoisted`, or a path such as `my_package.fast:build`, to an implementation."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unrolled.cells import check_cell
from unrolled.errors import ImplementationError, InvalidTypeError, InvalidValueError
from unrolled.plugins import resolve

if TYPE_CHECKING:
    from torch import nn

IMPLEMENTATIONS = {
    "fused": "unrolled.implementations.fused:build",
    "cells": "unrolled.implementations.cells:build",
    "hoisted": "unrolled.implementations.hoisted:build",
    "inference": "unrolled.implementations.inference:build",
    "bptt": "unrolled.implementations.bptt:build",
    "newton": "unrolled.implementations.newton:build",
    "scan": "unrolled.implementations.scan:build",
    "torch_scan": "unrolled.implementations.torch_scan:build",
    "compiled": "unrolled.implementations.compiled:build",
    "compiled_reduce_overhead": "unrolled.implementations.compiled:reduce_overhead",
    "compiled_max_autotune": "unrolled.implementations.compiled:max_autotune",
}
# Between `cells` and `fused`, each with one thing changed; see `written_out`. They explain, nobody would run them.
RUNGS = {
    name: f"unrolled.implementations.written_out:{name}"
    for name in ("written_out", "gate_by_gate", "projected", "folded", "in_cpp", "recorded")
}
RUNGS["flushed"] = "unrolled.implementations.flushed:build"
NETWORK = (
    "network:"  # before the name of a cell: the module of that cell, which computes something else on purpose
)
REFERENCE = "fused"  # the name of the module that all are compared with
DEFAULT_IMPLEMENTATIONS = ("fused", "cells", "hoisted")


Build = Callable[["nn.Module"], "nn.Module"]
Around = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Implementation:
    """A named `build(reference) -> module`.

    `uncompiled` is the `build` of the same loop without its compiler, for an implementation that compiles. `around()`
    is entered around each of its calls, for one that wants other settings of torch, in the backward pass too. `network`
    is the cell of another network: `build` is then given the reference of that.
    Raises `InvalidTypeError` for what is no function, and `InvalidValueError` for another one under the name that
    stands for the reference.
    """

    name: str
    build: Build
    uncompiled: Build | None = None
    around: Around | None = None
    network: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.build):
            raise InvalidTypeError(
                f"implementation {self.name}: expected a function build(reference) -> module, "
                f"got {type(self.build).__name__}; give the function"
            )
        if self.name == REFERENCE and self.build is not resolve(IMPLEMENTATIONS[REFERENCE], "implementation"):
            raise InvalidValueError(
                f"implementation {self.name}: expected another name, got that of the reference; rename yours"
            )


def load(name: str) -> Implementation:
    """The implementation or rung called `name` in the registry, or the one at `package.module:build`.

    `network:gru` is another network, of that cell, or of anybody's: `network:package.module:Name`.

    Raises `InvalidValueError` for an unknown name and `ImplementationError` for a path that cannot be
    imported or does not lead to a callable. A module whose `build` compiles also names `uncompiled`, the
    `build` of the loop that it compiles; then the compile time is measured on its own. One that wants other settings
    names it `AROUND`.
    """
    if (cell := network_of(name)) is not None:
        check_cell(cell)
        return Implementation(name, load(REFERENCE).build, network=cell)
    path = (IMPLEMENTATIONS | RUNGS).get(name, name)
    build = resolve(path, "implementation", IMPLEMENTATIONS)
    if not callable(build):
        raise ImplementationError(
            f"implementation {name}: expected a function build(reference) -> module, "
            f"got {type(build).__name__}; name the function after the colon"
        )
    module = sys.modules[path.partition(":")[0]]
    return Implementation(name, build, getattr(module, "uncompiled", None), getattr(module, "AROUND", None))


def network_of(name: str) -> str | None:
    """The cell of `network:cell`, or None for the name of an implementation."""
    return name.removeprefix(NETWORK) if name.startswith(NETWORK) else None


def as_implementation(what: str | Build | Implementation) -> Implementation:
    """An implementation by its name or path, of a function that builds it (under its own name), or as it is.

    Raises `InvalidTypeError` for anything else, and what `load` and `Implementation` raise.
    """
    if isinstance(what, Implementation):
        return what
    if isinstance(what, str):
        return load(what)
    from torch import nn

    if not callable(what) or isinstance(what, nn.Module):
        raise InvalidTypeError(
            "implementation: expected a name such as 'cells', a function build(reference) -> module or an "
            f"Implementation, got {type(what).__name__}; give one of these"
        )
    return Implementation(getattr(what, "__name__", type(what).__name__), what)


def implement(implementation: Implementation, reference: nn.Module) -> nn.Module:
    """Build `implementation` for `reference`; a `Stack` is built layer by layer.

    Raises `ImplementationError` when what comes back is not a module that can be called like the
    reference: `module(input)` and `module(input, hx)`. Where nothing tells how it is called, the calls will.
    """
    from torch import nn

    from unrolled.networks.stack import Stack

    if isinstance(reference, Stack) and implementation.name != REFERENCE:
        return Stack([implement(implementation, layer) for layer in reference.layers])
    module: object = implementation.build(reference)
    if not isinstance(module, nn.Module):
        raise ImplementationError(
            f"implementation {implementation.name}: expected build(reference) to return an nn.Module, "
            f"got {type(module).__name__}"
        )
    if unlike := _called_otherwise(module):
        raise ImplementationError(
            f"implementation {implementation.name}: expected a module called as forward(input, hx=None), "
            f"like {type(reference).__name__}, got {unlike}"
        )
    return module


def _called_otherwise(module: nn.Module) -> str:
    """How a module is called, where not as `module(input)` and `module(input, hx)`; else nothing.

    TorchScript keeps a schema of its own. A scripted module of several overloads, such as `nn.LSTM`, has no `forward`.
    """
    forward: Any = getattr(module, "forward", None)
    if forward is None:
        return "a module without forward; call it in the forward of a module of your own"
    if (schema := getattr(forward, "schema", None)) is not None:
        arguments = schema.arguments[1:]
        needed = [argument for argument in arguments if not argument.has_default_value()]
        alike = len(needed) <= 1 and len(arguments) >= 2
        return "" if alike else f"forward({', '.join(argument.name for argument in arguments)})"
    try:
        signature = inspect.signature(forward)
    except ValueError:
        return ""
    try:
        signature.bind(None)
        signature.bind(None, None)
    except TypeError:
        return f"forward{signature}"
    return ""
