"""`compiled`: the loop of `hoisted`, or that over anybody's cell, through `torch.compile`.

The compiler unrolls the loop: compiling takes seconds to a minute and grows with the number of steps.
What is compiled is the recurrence of one layer after the input projection, whose shapes are the same in
every layer and direction, so that the cost does not grow with the number of layers. Of anybody's cell, the loop of each
layer and direction is compiled as it is.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from unrolled.cells.build import Unrolled
from unrolled.implementations.hoisted import Hoisted


class Compiled(Hoisted):
    """A `Hoisted` loop whose recurrence is compiled, once per shape, at its first call."""

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__(reference)
        self.recurrence = torch.compile(self.recurrence, fullgraph=True, dynamic=False)


def build(reference: nn.Module) -> nn.Module:
    """A compiled loop with the parameters of `reference`."""
    if not isinstance(reference, Unrolled):
        return Compiled(reference)  # type: ignore[arg-type]
    loop: Any = copy.copy(reference)  # shallow: with the very cells
    # Steps that draw random numbers draw those that the loop draws, so that both can be compared.
    loop.scan = torch.compile(reference.scan, dynamic=False, options={"fallback_random": True})
    return loop  # type: ignore[no-any-return]


def uncompiled(reference: nn.Module) -> nn.Module:
    """The loop that runs without the compiler: what compiling has to pay for."""
    return reference if isinstance(reference, Unrolled) else Hoisted(reference)  # type: ignore[arg-type]
