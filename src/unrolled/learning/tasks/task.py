"""What a task of known delay says of itself."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


class Task(ABC):
    """Sequences to draw, what to say about them, and the loss of the best answer that remembers nothing.

    A `delay` is the number that the task is known by in the literature, of which `steps` says how long a sequence is
    and `lag` over how many steps something is to be remembered.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    LOSS: ClassVar[str]  # its unit
    inputs: ClassVar[int]
    outputs: ClassVar[int]
    least: ClassVar[int] = 1  # the shortest delay that there is

    @abstractmethod
    def steps(self, delay: int) -> int:
        """T of a sequence."""

    @abstractmethod
    def lag(self, delay: int) -> int:
        """Steps from where something is shown to where it is asked for: the largest there are."""

    @abstractmethod
    def draw(self, delay: int, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs `(T, B, I)` and what is to be said of them."""

    @abstractmethod
    def baseline(self, delay: int) -> float:
        """The expected loss of the best answer that remembers nothing."""

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The scalar to train on, of predictions `(T, B, O)`: here the cross entropy at the last step."""
        return cross_entropy(prediction[-1], target)


def of_symbols(count: int) -> float:
    """The cross entropy of guessing one of so many symbols, in nats."""
    return math.log(count)
