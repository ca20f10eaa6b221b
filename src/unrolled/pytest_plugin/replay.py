"""Rounds that were measured, handed to pytest-benchmark: its statistics, files and comparisons are then of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any


class Replay:
    """A clock for pytest-benchmark that shows seconds which were measured before: 0, then those of the round.

    With nothing to show it is a clock as any other.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._started = False

    def __call__(self) -> float:
        """The time."""
        if not self.seconds:
            return perf_counter()
        self._started = not self._started
        return 0.0 if self._started else self.seconds.pop(0)

    def show(self, benchmark: Any, seconds: Sequence[float], call: Callable[[], object]) -> None:
        """Let the fixture `benchmark` of pytest-benchmark measure rounds of so many seconds.

        `call` is for its profiler, which calls once more.
        """
        self.seconds, self._started = list(seconds), False
        benchmark.pedantic(lambda: None if self.seconds else call(), rounds=len(seconds))
