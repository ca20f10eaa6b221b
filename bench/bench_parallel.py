"""From what length on is Newton's method over all steps faster than the fused module, forward and in training?

pytest bench/bench_parallel.py --benchmark-only

One sequence at a time, float32, torch's own first weights; the ratio is the median time of `newton` over that of the
fused module, which goes through time step by step.
"""

from functools import partial
from statistics import median
from time import perf_counter

import pytest
import torch

from unrolled.implementations.newton import build
from unrolled.networks.workload import Workload

HIDDEN, LENGTHS, ROUNDS = (1, 2, 4, 8, 16, 32), (1_000, 10_000), 3


def forward(module, x):
    """Without a graph."""
    with torch.no_grad():
        module(x)


def train(module, x):
    """Forward and backward."""
    module.zero_grad()
    module(x)[0].sum().backward()


def seconds(work):
    """The median of a few calls, after one that is not counted."""
    work()
    times = []
    for _ in range(ROUNDS):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def bench_newton(cell, benchmark, say):
    """Below 1 it is faster."""
    for hidden in HIDDEN:
        for length in LENGTHS:
            fused = Workload(
                cell=cell, input_size=1, hidden_size=hidden, batch_size=1, seq_len=length, dtype="float32"
            )
            module, x = fused.reference(), fused.input()
            newton = build(module)
            ratios = [
                seconds(partial(work, newton, x)) / seconds(partial(work, module, x))
                for work in (forward, train)
            ]
            say(
                f"{cell}, H = {hidden}, T = {length}: K = {newton.iterations[0]}, forward {ratios[0]:.2f}, training "
                f"{ratios[1]:.2f} times as long as the fused module"
            )
    benchmark.pedantic(partial(forward, newton, x), rounds=1)
