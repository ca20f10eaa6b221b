"""Delayed XOR: one bit at the first step, one at the last, and whether they differ."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.learning.tasks.task import Task, of_symbols


class DelayedXor(Task):
    """Two bits, as -1 and 1, with nothing in between; whether they differ is to be said at the second.

    The shortest task that needs both a memory and something that is not linear: a network that remembers the first bit
    and adds up does no better than a guess, ln 2. A second channel is 1 where there is a bit.
    """

    NAME, TITLE, LOSS = "xor", "delayed XOR of two bits", "nats"
    inputs, outputs = 2, 2

    def steps(self, delay: int) -> int:
        """The bits at the first and the last of `delay + 1` steps."""
        return delay + 1

    def lag(self, delay: int) -> int:
        """The delay itself."""
        return delay

    def draw(self, delay: int, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Targets `(B,)` are 0 for equal bits, 1 for others."""
        return self.posed(torch.randint(2, (2, batch_size), generator=generator), delay)

    def posed(self, bits: Tensor, delay: int) -> tuple[Tensor, Tensor]:
        """The task for `bits` `(2, B)`, of 0 and 1."""
        x = torch.zeros(self.steps(delay), bits.shape[1], self.inputs)
        for step, bit in ((0, bits[0]), (-1, bits[1])):
            x[step, :, 0] = 2.0 * bit - 1
            x[step, :, 1] = 1.0
        return x, bits[0] ^ bits[1]

    def baseline(self, delay: int) -> float:
        """That of a guess."""
        return of_symbols(2)
