"""`compiled`: the loop of `hoisted`, or that over anybody's cell, through `torch.compile`.

The compiler unrolls the loop: compiling takes seconds to a minute and grows with the number of steps.
What is compiled is the recurrence of one layer after the input projection, whose shapes are the same in
every layer and direction, so that the cost does not grow with the number of layers. Of anybody's cell, the loop of each
layer and direction is compiled as it is.

Two further modes of the compiler are implementations of their own, since what they cost and gain differs:
`compiled_reduce_overhead` (CUDA graphs, where there is a GPU) and `compiled_max_autotune` (kernels chosen by timing).

The compiler remembers what it compiled by the code of a function, a few versions of each. So each build
compiles a copy of its own: what compiling costs is not hidden by an earlier build, nor is that one dropped for it.
"""

from __future__ import annotations

import copy
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from unrolled.cells.build import Unrolled
from unrolled.implementations.hoisted import Hoisted


class Compiled(Hoisted):
    """A `Hoisted` loop whose recurrence is compiled, once per shape, at its first call."""

    def __init__(self, reference: nn.RNNBase, mode: str) -> None:
        super().__init__(reference)
        self.recurrence = torch.compile(_copied(self.recurrence), fullgraph=True, dynamic=False, mode=mode)


def build(reference: nn.Module, mode: str = "default") -> nn.Module:
    """A compiled loop with the parameters of `reference`; `mode` is one of `torch.compile`."""
    if not isinstance(reference, Unrolled):
        return Compiled(reference, mode)  # type: ignore[arg-type]
    loop: Any = copy.copy(reference)  # shallow: with the very cells
    # Steps that draw random numbers draw those that the loop draws, so that both can be compared.
    options = torch._inductor.list_mode_options(mode) | {"fallback_random": True}
    loop.scan = torch.compile(_copied(reference.scan), dynamic=False, options=options)
    return loop  # type: ignore[no-any-return]


def _copied(function: Any) -> Any:
    """A function, bound or with some arguments given, whose code nobody else has."""
    if isinstance(function, partial):
        return partial(_copied(function.func), *function.args, **function.keywords)
    if isinstance(function, MethodType):
        return MethodType(_copied(function.__func__), function.__self__)
    copied = FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def reduce_overhead(reference: nn.Module) -> nn.Module:
    """By CUDA graphs, where there is a GPU."""
    return build(reference, "reduce-overhead")


def max_autotune(reference: nn.Module) -> nn.Module:
    """With kernels that were chosen by timing them."""
    return build(reference, "max-autotune")


def uncompiled(reference: nn.Module) -> nn.Module:
    """The loop that runs without the compiler: what compiling has to pay for."""
    return reference if isinstance(reference, Unrolled) else Hoisted(reference)  # type: ignore[arg-type]
