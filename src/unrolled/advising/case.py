"""What advice can be asked for: a network on a task, a forecaster, somebody's model with its data."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from unrolled.advising.change import Change, Diagnosis, Outcome
from unrolled.advising.flossing import floss
from unrolled.cells.initialisation import Init


class Case(ABC):
    """Something to train from a seed, as it is or changed."""

    title: str  # for tables
    goal: str  # what it is to reach, and within what
    cell: str  # by the registry; empty where it is another

    @abstractmethod
    def diagnose(self) -> Diagnosis:
        """Before training, from the first seed."""

    @abstractmethod
    def can(self, kind: str) -> bool:
        """Whether it can have changes of that kind."""

    @abstractmethod
    def train(self, seed: int, change: Change | None) -> Outcome:
        """From that seed: weights and data are the same, changed or not, but for what the change is of."""


def can_be_flossed(module: nn.Module) -> bool:
    """Whether its exponents can be pushed: a tanh RNN or a GRU of torch's."""
    return isinstance(module, nn.RNN | nn.GRU) and module.mode != "RNN_RELU" and not module.proj_size


def flossed(module: nn.Module, inputs: torch.Tensor) -> None:
    """Push the first exponents of such a module along `inputs` `(T, B, I)` to zero."""
    if not isinstance(module, nn.RNNBase) or not can_be_flossed(module):
        raise TypeError(f"expected a tanh nn.RNN or an nn.GRU, got {type(module).__name__}")
    floss(module, inputs)


def start_of(change: Change | None) -> tuple[str | None, Init | None]:
    """The cell and the start that a change asks for; None for those that stay."""
    if change is None or change.kind not in ("init", "gates", "cell"):
        return None, None
    return ("lstm" if change.kind == "cell" else None), Init.parse(change.value)
