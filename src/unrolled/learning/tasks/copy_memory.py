"""Copy memory: ten symbols are shown and asked for, in order, T steps after the last."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from unrolled.learning.tasks.task import Task, of_symbols


class CopyMemory(Task):
    """Ten symbols of eight, T - 1 blanks, a delimiter, and ten blanks in which the symbols are to be said again.

    Arjovsky, Shah, Bengio (2016, §5.1), after Hochreiter and Schmidhuber (1997). The answer before them is the blank
    symbol, so a network without a memory, that says blanks and then guesses, has a loss of `10 ln 8 / (T + 20)`.
    """

    NAME, TITLE, LOSS = "copy", "copy memory, 10 of 8 symbols", "nats a step"
    SYMBOLS, LENGTH = 8, 10
    BLANK, DELIMITER = SYMBOLS, SYMBOLS + 1
    inputs, outputs = SYMBOLS + 2, SYMBOLS + 1  # the delimiter is never said

    def steps(self, delay: int) -> int:
        """`T + 20`."""
        return delay + 2 * self.LENGTH

    def lag(self, delay: int) -> int:
        """`T + 10` for each of the symbols."""
        return delay + self.LENGTH

    def draw(self, delay: int, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Targets `(T + 20, B)` are symbols, of which the blank is one."""
        shown = torch.randint(self.SYMBOLS, (self.LENGTH, batch_size), generator=generator)
        return self.posed(shown, delay)

    def posed(self, shown: Tensor, delay: int) -> tuple[Tensor, Tensor]:
        """The task for the symbols `shown` `(10, B)`."""
        blanks = torch.full((self.lag(delay), shown.shape[1]), self.BLANK)
        tokens = torch.cat([shown, blanks])
        tokens[self.lag(delay) - 1] = self.DELIMITER
        return one_hot(tokens, self.inputs).float(), torch.cat([blanks, shown])

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The cross entropy, a mean over all steps."""
        return cross_entropy(prediction.flatten(0, 1), target.flatten())

    def baseline(self, delay: int) -> float:
        """`10 ln 8 / (T + 20)`."""
        return self.LENGTH * of_symbols(self.SYMBOLS) / self.steps(delay)
