"""How networks are trained on a task, checked when made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unrolled.checks import check_size
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.gradients.clipping.clip import check_text
from unrolled.learning.tasks import task_named
from unrolled.learning.tasks.task import Task
from unrolled.results.codec import Positive, Size

DELAYS = (5, 10, 20, 40, 80, 160)
LEARNED = 0.1  # of the loss without a memory, at which a task counts as learned


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The task, and Adam on fresh sequences of it.

    A task is learned at the first look, one every 25 iterations, at which the loss on held-out sequences is at most a
    tenth of that of the best answer that remembers nothing. A seed that fails at a delay is not asked for a longer one,
    but with `every_delay`. `clip` is a mode of `unrolled.clipping`.

    Raises `InvalidValueError` or `InvalidTypeError` when made with something that cannot be trained.
    """

    task: str = "recall"
    delays: tuple[Size, ...] = DELAYS
    seeds: Size = 10
    iterations: Size = 200
    batch_size: Size = 16
    lr: Positive = 0.005
    clip: str = "norm:1"
    every_delay: bool = False

    def __post_init__(self) -> None:
        least = self.of.least
        for delay in self.delays:
            check_size("delays", delay)
        if not self.delays or list(self.delays) != sorted(set(self.delays)) or self.delays[0] < least:
            raise InvalidValueError(
                f"delays: expected increasing numbers of steps, from {least} on, got "
                f"{','.join(map(str, self.delays)) or 'none'}; try 5,10,20,40"
            )
        for name in ("seeds", "iterations", "batch_size"):
            check_size(name, getattr(self, name))
        if isinstance(self.lr, bool) or not isinstance(self.lr, int | float):
            raise InvalidTypeError(f"lr: expected a number above 0, got {self.lr!r}; try 0.005")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InvalidValueError(f"lr: expected a number above 0, got {self.lr:g}; try 0.005")
        check_text(self.clip)

    @property
    def of(self) -> Task:
        """The task itself."""
        return task_named(self.task)

    @property
    def reach_delay(self) -> int:
        """The delay whose sequences horizons are measured on: twice the longest, so that one can lie beyond it."""
        return 2 * self.delays[-1]

    def learned(self, loss: float, delay: int) -> bool:
        """Whether a held-out loss at that delay says so."""
        return loss <= LEARNED * self.of.baseline(delay)

    def describe(self) -> str:
        """For the foot of a plot."""
        return (
            f"{self.of.TITLE}, {self.seeds} seeds, batch {self.batch_size}, Adam at {self.lr:g}, "
            f"up to {self.iterations} iterations, clip {self.clip}"
        )
