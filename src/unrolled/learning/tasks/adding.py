"""The adding problem: two of T numbers are marked, and their sum is asked for at the end."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from unrolled.learning.tasks.task import Task


class Adding(Task):
    """T numbers uniform in [0, 1], one marked in each half; the sum of both is to be given at the last step.

    Hochreiter and Schmidhuber (1997, §5.4) as Arjovsky, Shah, Bengio (2016, §5.2) pose it. Giving the mean, 1, has a
    mean squared error of 1/6, the variance of the sum of two uniform numbers.
    """

    NAME, TITLE, LOSS = "adding", "adding two of T numbers", "squared error"
    inputs, outputs, least = 2, 1, 2

    def steps(self, delay: int) -> int:
        """T."""
        return delay

    def lag(self, delay: int) -> int:
        """From the first step, where the first number may be, to the last; half of that at the least."""
        return delay - 1

    def draw(self, delay: int, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Targets `(B, 1)` are sums."""
        half = delay // 2
        first = torch.randint(half, (1, batch_size), generator=generator)
        second = torch.randint(half, delay, (1, batch_size), generator=generator)
        numbers = torch.rand(delay, batch_size, generator=generator)
        return self.posed(numbers, torch.cat([first, second]))

    def posed(self, numbers: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """The task for `numbers` `(T, B)` with marks at `places` `(2, B)`."""
        marks = torch.zeros_like(numbers).scatter_(0, places, 1.0)
        return torch.stack([numbers, marks], dim=-1), numbers.gather(0, places).sum(0).unsqueeze(-1)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The mean squared error at the last step."""
        return mse_loss(prediction[-1], target)

    def baseline(self, delay: int) -> float:
        """1/6."""
        return 1 / 6
