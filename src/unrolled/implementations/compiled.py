"""`compiled`: the loop of `hoisted`, through `torch.compile`.

The compiler unrolls the loop: compiling takes seconds to a minute and grows with the number of steps.
What is compiled is the recurrence of one layer after the input projection, whose shapes are the same in
every layer and direction, so that the cost does not grow with the number of layers.
"""

from __future__ import annotations

import torch
from torch import nn

from unrolled.implementations.hoisted import Hoisted


class Compiled(Hoisted):
    """A `Hoisted` loop whose recurrence is compiled, once per shape, at its first call."""

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__(reference)
        self.recurrence = torch.compile(self.recurrence, fullgraph=True, dynamic=False)


def build(reference: nn.RNNBase) -> nn.Module:
    """A compiled loop with the parameters of `reference`."""
    return Compiled(reference)


# The loop that runs without the compiler: what compiling has to pay for.
uncompiled = Hoisted
