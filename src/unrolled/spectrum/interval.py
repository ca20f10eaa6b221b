"""The re-orthonormalisation interval: how many steps may lie between two factorisations of the tangents.

The *loss* of a vector is how many times larger it has become than the part of it that is independent of the
vectors before it. That part has `log10(loss)` fewer digits than the vector, so a block of steps may only be as long
as its loss stays bearable.
"""

from __future__ import annotations

import math

import torch

# All tuned numbers of pushing tangents, here and in `choice` and `tangents`: first their unit, then their reason.

# Ratio: the loss up to which a block is accepted. What is left gives an exponent to better than 1e-8 nats a step, of
# which some is needed where exponents come close; and its square must leave digits to the Gram matrix of `Cholesky`.
LARGEST_LOSS = {torch.float64: 1e7, torch.float32: 1e2}
# Ratio of logarithms: the share of the bearable loss that is aimed for, as one block loses more than another.
SAFETY = 0.9
# Ratio: the loss assumed of a block whose factorisation failed, in units of the largest; it cannot be measured then.
BEYOND = 10
# Ratio: what is kept of the highest rate of loss, block by block, while blocks lose less.
MEMORY = 0.97
# Steps: the longest interval, even of a single vector, which loses nothing.
LONGEST = 64
# Ratio of intervals: how fast the interval grows while nothing speaks against it.
GROWTH = 2
# Size of the largest entry and of its inverse after several steps: far from overflow, also of the squares.
RANGE = {torch.float64: 1e120, torch.float32: 1e15}
# Blocks, and numbers in their tangents (1 MB), that are pushed on trust before any of them is checked: a check takes as
# long as a factorisation of few vectors, and on a GPU has to wait for it.
ON_TRUST, NUMBERS_ON_TRUST = 32, 2**17
# Difference of `‖Q‖²` from k, for a basis Q of k vectors: one from `Cholesky` is accepted up to the first, as a vector
# of which only rounding was left makes it about 1; below the second, Q counts as orthonormal and has R = 1.
ACCEPTED_DEFECT, ORTHONORMAL = 0.3, 1e-9
# Multiples of the best number of columns: with more columns, filling up the last multiple costs more than it saves.
FILLED_UP = 2


class Interval:
    """Decides the lengths of the blocks, and how many of them are pushed before they are checked.

    `size` is the number n of entries in a tangent. The interval is `qr_every`, or with `"auto"` follows from the
    losses of the blocks so far.
    """

    def __init__(self, dtype: torch.dtype, size: int, qr_every: int | str) -> None:
        self.fixed = None if qr_every == "auto" else int(qr_every)
        self.steps = self.fixed or 1
        self.on_trust = 1
        self.rate = 0.0  # logarithm of the loss, per step
        self.limit, self.range = LARGEST_LOSS[dtype], RANGE[dtype]
        self.total_loss = 1 / (size * torch.finfo(dtype).eps)  # what is left is but rounding

    def blocks(self, steps: int, most: int) -> list[int]:
        """The lengths of the next blocks, at most `most` of them, out of so many steps."""
        number = -(-steps // self.steps)
        count = min(number, self.on_trust, most)
        if self.fixed is not None:
            return [min(self.steps, steps - self.steps * done) for done in range(count)]
        return [steps * (done + 1) // number - steps * done // number for done in range(count)]

    def in_range(self, largest: float, steps: int) -> bool:
        """Whether the largest entry can be relied on after so many steps; a single one cannot be made shorter."""
        return 1 / self.range <= largest <= self.range or (steps == 1 and math.isfinite(largest))

    def accepts(self, loss: float, steps: int) -> bool:
        """Whether a block of so many steps may lose so much; if not, the next is shorter."""
        if math.isnan(
            loss
        ):  # 0 / 0 does not tell in which step a vector was lost, nor how fast the others collapse
            self.steps = 1
            return False
        rate = math.log(min(max(loss, 1.0), self.total_loss)) / steps
        if steps == 1 or loss <= self.limit:
            self.rate = max(rate, MEMORY * self.rate)
            return True
        self.rate = max(rate, self.rate)
        self.steps = max(1, min(steps - 1, self._aim()))
        return False

    def lengthen(self, longest: int) -> None:
        """Set the interval after a number of blocks, the longest of so many steps, were all accepted."""
        if self.fixed is not None:
            self.steps, self.on_trust = self.fixed, ON_TRUST
            return
        if 2 * longest > self.steps:  # blocks cut short by the end of the run say little
            self.steps = max(1, min(self._aim(), LONGEST, GROWTH * longest))
        if self.steps <= longest:
            self.on_trust = min(2 * self.on_trust, ON_TRUST)

    def _aim(self) -> int:
        """The steps that lose as much as is aimed for."""
        return int(SAFETY * math.log(self.limit) / max(self.rate, 1e-9))
