"""Paired rounds: each timed call of a contender has a timed call of the reference right beside it."""

from __future__ import annotations

import random
from collections.abc import Callable
from time import perf_counter

from unrolled.speed.step import Step


class PairedRounds:
    """The `setup` and `teardown` around each timed call of `contender`: they time the `reference` beside it.

    The reference goes first in half of the rounds, in random order, so that whatever the first call does
    to the second (caches, clock frequency) falls on both sides alike. Whoever runs the rounds calls
    `setup()`, times `contender()`, and calls `teardown()`, as `benchmark.pedantic` does.
    """

    def __init__(
        self,
        reference: Step,
        contender: Step,
        rounds: int,
        seed: int = 0,
        timer: Callable[[], float] = perf_counter,
    ) -> None:
        self.reference = reference
        self.contender = contender
        self.rounds = rounds
        self.timer = timer
        self.reference_seconds: list[float] = []
        self.reference_first = [k % 2 == 0 for k in range(rounds)]
        random.Random(seed).shuffle(self.reference_first)
        self._order = iter(self.reference_first)
        self._reference_is_next = False

    def setup(self) -> None:
        """Before a timed call of the contender."""
        # Past the last round (a profiler asking for one more call) there is nothing to pair.
        reference_first = next(self._order, None)
        if reference_first:
            self.time_reference()
        self._reference_is_next = reference_first is False
        self.contender.reset()

    def teardown(self) -> None:
        """After a timed call of the contender."""
        self.contender.note_event()
        if self._reference_is_next:
            self.time_reference()

    def time_reference(self) -> None:
        """Reset, then time one call of the reference."""
        self.reference.reset()
        start = self.timer()
        self.reference()
        self.reference_seconds.append(self.timer() - start)
        self.reference.note_event()


def time_pairs(pairs: PairedRounds) -> list[float]:
    """Run all rounds in a plain loop; gives the seconds of the contender's calls."""
    seconds = []
    for _ in range(pairs.rounds):
        pairs.setup()
        start = pairs.timer()
        pairs.contender()
        seconds.append(pairs.timer() - start)
        pairs.teardown()
    return seconds
