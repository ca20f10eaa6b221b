"""The setting of one training run: everything that decides about its weights, checked when made."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from unrolled.cells import CELLS, cell_named
from unrolled.checks import check_choice, check_size
from unrolled.errors import InvalidTypeError, InvalidValueError

OPTIMIZERS = ("adam", "sgd")
RECALL = "recall:"  # begins the signal that is a task of memory


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One training run. The defaults are those of the classic sine-wave forecaster.

    `signal`: `sine`, `sum`, `chirp`, `henon`, `lorenz`, `csv:FILE:COLUMN`, or `recall:S` for one of S symbols after
    a delay. `length`: points of a window, of which the network reads all but the last; for recall the steps of a
    sequence. `init`, `gain`, `forget_bias`: how the recurrent weights start out, as in
    `unrolled.networks.textbook`; `init_std` in their place draws every recurrent weight and bias from N(0,
    init_std²). `clip`: a mode of `unrolled.clipping`. `warm_up`: true points fed before the loop closes.
    Settings that differ in `clip` alone have the same weights at the start and read the same data in the same
    order.

    Raises `InvalidValueError` or `InvalidTypeError` when made with something that cannot be trained.
    """

    signal: str = "sine"
    cell: str = "rnn_tanh"
    hidden_size: int = 16
    num_layers: int = 1
    init: str = "default"
    gain: float = 1.0
    forget_bias: float | None = None
    init_std: float | None = 0.001
    length: int = 50
    batch_size: int = 1
    iterations: int = 6000
    optimizer: str = "adam"
    lr: float = 0.01
    clip: str = "none"
    warm_up: int = 10
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_choice("cell", self.cell, CELLS)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        from unrolled.gradients.clipping.clip import (
            check_text,
        )  # with torch: a command's options do not wait for it

        check_text(self.clip)
        for name in ("hidden_size", "num_layers", "batch_size", "iterations", "warm_up"):
            check_size(name, getattr(self, name))
        check_size("length", self.length)
        if self.length < 3:
            raise InvalidValueError(
                f"length: expected at least 3 points, two to read and one to forecast, got {self.length}; try 50"
            )
        for name in ("lr", "gain", "init_std"):
            _check_positive(name, getattr(self, name))
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise InvalidTypeError(f"seed: expected an integer, got {self.seed!r}; try 0")
        if not 0 <= self.seed < 2**31:
            raise InvalidValueError(f"seed: expected a number from 0 to 2147483647, got {self.seed}; try 0")
        if self.init_std is not None and (self.init, self.gain, self.forget_bias) != ("default", 1.0, None):
            raise InvalidValueError(
                f"init_std: expected no init, gain or forget bias beside it, got init_std {self.init_std:g} "
                "with some; leave one of them out"
            )
        if self.symbols is None and self.warm_up > self.length - 2:
            raise InvalidValueError(
                f"warm_up: expected at most {self.length - 2} of the {self.length} points, so that the closed "
                f"loop has a step, got {self.warm_up}; choose fewer"
            )

    @property
    def symbols(self) -> int | None:
        """How many symbols `recall:S` has; None for a signal to forecast."""
        if not self.signal.startswith(RECALL):
            return None
        text = self.signal.removeprefix(RECALL)
        if not text.isascii() or not text.isdigit() or not 2 <= int(text) <= 1000:
            raise InvalidValueError(
                f"signal: expected recall:S with 2 to 1000 symbols, got {self.signal!r}; try recall:8"
            )
        return int(text)

    @property
    def state_size(self) -> int:
        """How many numbers the state of all layers has."""
        return self.num_layers * sum(cell_named(self.cell).state_sizes(self.hidden_size, 0))

    def replace(self, **changes: Any) -> Setting:
        """The same setting with some fields changed."""
        return replace(self, **changes)

    def describe(self) -> str:
        """For the foot of a plot: what all variants of a study usually share."""
        return (
            f"{self.signal}, {self.length} points, {self.num_layers} layer{'s' * (self.num_layers > 1)}, "
            f"hidden {self.hidden_size}, batch {self.batch_size}, {self.optimizer} at {self.lr:g}, "
            f"{self.iterations} iterations"
        )


def _check_positive(name: str, value: object) -> None:
    """Raise unless `value` is a finite number above 0, or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(f"{name}: expected a number above 0, got {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise InvalidValueError(f"{name}: expected a number above 0, got {value:g}")
