"""Tasks in chunks: what goes to a worker at once, so that short tasks cost little to hand over."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from unrolled.sweep.grid import Task

CHUNK_S = 0.25  # of work that goes to a worker at once, where tasks are shorter: dask takes 5 ms for each
MOST_IN_CHUNK = 64


class Chunks:
    """Tasks in chunks of some work each; smaller ones towards the end, so that all workers end together."""

    def __init__(self, tasks: Iterable[Task], workers: int) -> None:
        self.waiting = deque(tasks)
        self._workers = max(1, workers)
        self._each = math.inf  # seconds of a task

    def took(self, seconds: float, count: int) -> None:
        """What so many tasks took, by which the next chunks are made; the first ones of a worker import much."""
        self._each = seconds / count if math.isinf(self._each) else 0.5 * (self._each + seconds / count)

    def next(self) -> list[Task]:
        """The next chunk; a single task until the first is back."""
        fair = len(self.waiting) / (2 * self._workers)
        size = max(1, int(min(CHUNK_S / max(self._each, 1e-6), MOST_IN_CHUNK, fair)))
        return [self.waiting.popleft() for _ in range(min(size, len(self.waiting)))]
