"""Rounds: in each, all that is compared runs once, in random order, so that it is of one breath."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from unrolled.speed.load import preemptions

Timer = Callable[[], float]


class Runner(Protocol):
    """What is timed: `reset()` is called before each timed call, outside the clock."""

    def reset(self) -> None:
        """Make ready for the next call."""

    def __call__(self) -> None:
        """The timed call."""


@dataclass(frozen=True)
class Call:
    """Seconds of a timed call, and how often this process had to leave a core during it."""

    seconds: float
    preempted: int


def timed(runner: Runner, timer: Timer = perf_counter) -> Call:
    """Reset, then time one call."""
    runner.reset()
    before = preemptions()
    start = timer()
    runner()
    seconds = timer() - start
    return Call(seconds, preemptions() - before)


def time_rounds(
    runners: Sequence[Runner], rounds: int, *, seed: int = 0, timer: Timer = perf_counter
) -> list[list[float]]:
    """The seconds of each runner in each round; the order within a round is drawn from `seed`."""
    draws, seconds = random.Random(seed), [[0.0] * rounds for _ in runners]
    with without_garbage_collection():
        for k in range(rounds):
            for i in draws.sample(range(len(runners)), len(runners)):
                seconds[i][k] = timed(runners[i], timer).seconds
    return seconds


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """A collection in the middle of a round would be charged to whoever runs then."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
