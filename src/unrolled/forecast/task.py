"""What is to be learnt, as a table of sequences to draw from: forecasting a signal, or recalling a symbol."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from unrolled.forecast.signals import windows_of
from unrolled.learning.tasks.recall import recall_inputs

ORDER_STREAM = 1_000_003  # keeps the seed of the data order apart from that of the weights


@dataclass(frozen=True, eq=False)
class Task:
    """`inputs` `(W, T, I)` and `targets`, one row for each sequence that can be drawn.

    Forecasting: `targets` `(W, T, 1)` are the inputs one step later, the loss is their mean squared error, and
    the hidden state is carried from one iteration to the next. Recall: `targets` `(W,)` are symbols to be named
    at the last step, the loss is the cross entropy, and every sequence starts from a state of 0.

    `window` `(T + 1,)` is what the closed loop runs over; None for recall. `constant_loss` is the loss of the
    best answer that looks at no input: what a network that learns nothing gets.
    """

    inputs: Tensor
    targets: Tensor
    outputs: int
    constant_loss: float
    window: Tensor | None = None

    @property
    def carries(self) -> bool:
        """Whether the hidden state goes on from one iteration to the next."""
        return self.window is not None

    def order(self, iterations: int, batch_size: int, seed: int) -> Tensor:
        """The rows that each iteration reads, `(iterations, batch_size)`: the same for all with one seed.

        A longer order begins with the shorter one, so a run can be prolonged.
        """
        generator = torch.Generator().manual_seed(seed + ORDER_STREAM)
        return torch.randint(len(self.inputs), (iterations, batch_size), generator=generator)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The scalar to train on; `prediction` is `(B, T, O)`."""
        return mse_loss(prediction, target) if self.carries else cross_entropy(prediction[:, -1], target)

    def to(self, device: str) -> Task:
        """The same task with its tensors on `device`."""
        window = None if self.window is None else self.window.to(device)
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device), window=window)


def forecasting(signal: str, length: int) -> Task:
    """Each point from those before it, in windows of `length` points."""
    windows = windows_of(signal, length)
    targets = windows.every[:, 1:].unsqueeze(-1)
    constant = float(targets.var(correction=0))
    return Task(windows.every[:, :-1].unsqueeze(-1), targets, 1, constant, windows.loop)


def recall(symbols: int, length: int) -> Task:
    """A symbol is shown at the first of `length` steps and asked for at the last; blanks in between.

    The copying task of Hochreiter and Schmidhuber (1997) and Arjovsky, Shah, Bengio (2016) with one symbol.
    Inputs are one-hot: a channel for each symbol, one for the blank and one for the question.
    """
    shown = torch.arange(symbols)
    inputs = recall_inputs(shown, symbols, length).transpose(0, 1)
    return Task(inputs, shown, symbols, float(torch.log(torch.tensor(float(symbols)))))
