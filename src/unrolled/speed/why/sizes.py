"""The sizes that a model is fitted to, and the times there of the loop and of the fused module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median
from time import perf_counter

from unrolled.implementations import implement, load
from unrolled.networks.workload import Workload
from unrolled.speed.rounds import time_rounds
from unrolled.speed.step import Step
from unrolled.speed.why.model import Point

ROUNDS, FEWEST = 7, 3
LENGTH = 16
# (T, B, H), the informative corners first: whoever has no time for all stops in between.
DESIGN = (
    (LENGTH, 1, 16), (LENGTH, 64, 256), (LENGTH, 1, 512), (LENGTH, 64, 32), (4, 16, 64), (64, 4, 64),
    (LENGTH, 8, 128), (LENGTH, 256, 64), (LENGTH, 1, 128), (LENGTH, 16, 256), (LENGTH, 4, 384), (LENGTH, 128, 128),
)  # fmt: skip


def design(about: Workload) -> list[Workload]:
    """Of one layer, otherwise as the workload."""
    return [
        about.replace(seq_len=length, batch_size=batch, hidden_size=hidden, num_layers=1)
        for length, batch, hidden in DESIGN
    ]


def measured(
    workloads: Iterable[Workload],
    phase: str,
    implementation: str = "cells",
    *,
    budget: float,
    show: Callable[[str], object] = lambda what: None,
) -> Iterator[Point]:
    """Both sides at each size, in rounds of both: at most so many seconds in all, the last size begun is finished."""
    sizes: Sequence[Workload] = list(workloads)
    began = perf_counter()
    for k, workload in enumerate(sizes):
        left = budget - (perf_counter() - began)
        if left <= 0:
            return
        show(f"sizes · {workload.label}")
        yield _point(workload, phase, implementation, left / (len(sizes) - k))


def _point(workload: Workload, phase: str, implementation: str, budget: float) -> Point:
    reference = workload.reference()
    input, target = workload.input(), workload.target()
    loop = implement(load(implementation), reference)
    steps = [Step(module, input, target, phase, reference) for module in (loop, reference)]
    for step in steps:
        step()  # warm
    began = perf_counter()
    seconds = time_rounds(steps, 1)
    round_s = perf_counter() - began
    rounds = max(FEWEST, min(ROUNDS, int(budget / round_s) - 2)) - 1
    more = time_rounds(steps, rounds)
    return Point(workload, *(median(a + b) for a, b in zip(seconds, more, strict=True)))
