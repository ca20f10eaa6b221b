"""From a name such as `hoisted`, or a path such as `my_package.fast:build`, to an implementation."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unrolled.errors import ImplementationError
from unrolled.plugins import resolve

if TYPE_CHECKING:
    from torch import nn

IMPLEMENTATIONS = {
    "fused": "unrolled.implementations.fused:build",
    "cells": "unrolled.implementations.cells:build",
    "hoisted": "unrolled.implementations.hoisted:build",
    "compiled": "unrolled.implementations.compiled:build",
}
DEFAULT_IMPLEMENTATIONS = ("fused", "cells", "hoisted")


Build = Callable[["nn.Module"], "nn.Module"]


@dataclass(frozen=True)
class Implementation:
    """A named `build(reference) -> module`.

    `uncompiled` is the `build` of the same loop without its compiler, for an implementation that compiles.
    """

    name: str
    build: Build
    uncompiled: Build | None = None


def load(name: str) -> Implementation:
    """The implementation called `name` in the registry, or the one at `package.module:build`.

    Raises `InvalidValueError` for an unknown name and `ImplementationError` for a path that cannot be
    imported or does not lead to a callable. A module whose `build` compiles also names `uncompiled`, the
    `build` of the loop that it compiles; then the compile time is measured on its own.
    """
    path = IMPLEMENTATIONS.get(name, name)
    build = resolve(path, "implementation", IMPLEMENTATIONS)
    if not callable(build):
        raise ImplementationError(
            f"implementation {name}: expected a function build(reference) -> module, "
            f"got {type(build).__name__}; name the function after the colon"
        )
    module = sys.modules[path.partition(":")[0]]
    return Implementation(name, build, getattr(module, "uncompiled", None))


def implement(implementation: Implementation, reference: nn.Module) -> nn.Module:
    """Build `implementation` for `reference`; a `Stack` is built layer by layer.

    Raises `ImplementationError` when what comes back is not a module that can be called like the
    reference: `module(input)` and `module(input, hx)`.
    """
    from torch import nn

    from unrolled.networks.stack import Stack

    if isinstance(reference, Stack) and implementation.name != "fused":
        return Stack([implement(implementation, layer) for layer in reference.layers])
    module: object = implementation.build(reference)
    if not isinstance(module, nn.Module):
        raise ImplementationError(
            f"implementation {implementation.name}: expected build(reference) to return an nn.Module, "
            f"got {type(module).__name__}"
        )
    signature = inspect.signature(module.forward)
    try:
        signature.bind(None)
        signature.bind(None, None)
    except TypeError:
        raise ImplementationError(
            f"implementation {implementation.name}: expected a module called as forward(input, hx=None), "
            f"like {type(reference).__name__}, got forward{signature}"
        ) from None
    return module
