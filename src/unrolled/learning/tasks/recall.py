"""Recall: a symbol is shown at the first step and asked for at the last."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from unrolled.learning.tasks.task import Task, of_symbols


class Recall(Task):
    """One of four symbols, then blanks, then the question; the symbol is to be named at the step of the question.

    The copying task of Hochreiter and Schmidhuber (1997, §5.2: "long time lags") with a single symbol. Inputs are
    one-hot: a channel for each symbol, one for the blank and one for the question. Guessing gives ln 4.
    """

    NAME, TITLE, LOSS = "recall", "recall of one of 4 symbols", "nats"
    SYMBOLS = 4
    inputs, outputs = SYMBOLS + 2, SYMBOLS

    def steps(self, delay: int) -> int:
        """The symbol at the first of `delay + 1` steps, the question at the last."""
        return delay + 1

    def lag(self, delay: int) -> int:
        """The delay itself."""
        return delay

    def draw(self, delay: int, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Targets `(B,)` are the symbols."""
        shown = torch.randint(self.SYMBOLS, (batch_size,), generator=generator)
        return recall_inputs(shown, self.SYMBOLS, self.steps(delay)), shown

    def baseline(self, delay: int) -> float:
        """That of a guess."""
        return of_symbols(self.SYMBOLS)


def recall_inputs(shown: Tensor, symbols: int, steps: int) -> Tensor:
    """One-hot inputs `(T, B, symbols + 2)`: each of `shown` `(B,)`, then blanks, then the question."""
    blank, question = symbols, symbols + 1
    tokens = torch.full((steps, len(shown)), blank)
    tokens[0] = shown
    tokens[-1] = question
    return one_hot(tokens, symbols + 2).float()
