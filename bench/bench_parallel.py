"""Newton's method over all steps: from what length on is it faster than the fused module, and is it foreseen?

pytest bench/bench_parallel.py --benchmark-only -k newton
pytest bench/bench_parallel.py --benchmark-only -k verdict

`newton`: one sequence at a time, float32, torch's own first weights. In each of several rounds both sides run once, in
turns; the ratio is the median, over rounds, of the time of `newton` over that of the fused module, which goes through
time step by step. `verdict`: 100 random networks, of which the prediction is compared with K at T = 2000; about ten
minutes each.
"""

from functools import partial
from statistics import median
from time import perf_counter

import numpy as np
import pytest
import torch

from unrolled.cells.initialisation import Init
from unrolled.implementations.newton import build
from unrolled.networks.textbook import Network
from unrolled.networks.workload import Workload
from unrolled.newton.attempt import TENTH, TOLERANCE, double
from unrolled.newton.solve import solve
from unrolled.newton.systems import systems_of
from unrolled.over_time.exponent import exponent_of
from unrolled.over_time.forgetting import forgets
from unrolled.spectrum import lyapunov_spectrum

HIDDEN, LENGTHS, ROUNDS = (1, 2, 4, 8, 16, 32), (1_000, 10_000), 5
NETWORKS, STEPS = 100, 2000
# Kinds, hidden sizes, gains, and the seed of the first one.
SETS = {
    "kinds": (("rnn_tanh", "gru", "lstm"), (8, 16, 24, 32, 48), (0.3, 3.0), 7000),
    "transition": (("rnn_tanh",), (16, 24, 32, 48, 64), (0.5, 2.5), 8000),
}


def forward(module, x):
    """Without a graph."""
    with torch.no_grad():
        module(x)


def train(module, x):
    """Forward and backward."""
    module.zero_grad()
    module(x)[0].sum().backward()


def ratio(work, one, other, x):
    """The median of what `one` takes over what `other` takes, in rounds of both, after one that is not counted."""

    def seconds(module):
        start = perf_counter()
        work(module, x)
        return perf_counter() - start

    return median([seconds(one) / seconds(other) for _ in range(ROUNDS + 1)][1:])


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def bench_newton(cell, benchmark, say):
    """Below 1 it is faster."""
    for hidden in HIDDEN:
        for length in LENGTHS:
            workload = Workload(
                cell=cell, input_size=1, hidden_size=hidden, batch_size=1, seq_len=length, dtype="float32"
            )
            fused, x = workload.reference(), workload.input()
            newton = build(fused)
            ratios = [ratio(work, newton, fused, x) for work in (forward, train)]
            say(
                f"{cell}, H = {hidden}, T = {length}: K = {newton.iterations[0]}, forward {ratios[0]:.2f}, training "
                f"{ratios[1]:.2f} times as long as the fused module"
            )
    benchmark.pedantic(partial(forward, newton, x), rounds=1)


@pytest.mark.parametrize("name", SETS)
def bench_verdict(name, benchmark, say):
    """Right where it is predicted that K at T = 2000 is at most a tenth of T, and it is, or neither."""
    kinds, sizes, gains, first = SETS[name]
    found = []

    def run():
        for seed in range(first, first + NETWORKS):
            rng = np.random.default_rng(seed)
            cell, hidden = kinds[rng.integers(len(kinds))], int(rng.choice(sizes))
            gain = float(rng.uniform(*gains))
            found.append(measured(cell, hidden, gain, seed))
            say(f"{seed}: {cell}, H = {hidden}, gain {gain:.2f}: {found[-1]}")

    benchmark.pedantic(run, rounds=1)
    exponents = np.array([exponent for exponent, _, _ in found])
    together = np.array([forgot for _, forgot, _ in found])
    few = np.array([k is not None for _, _, k in found])
    by_sign, by_both = exponents < 0, (exponents < 0) & together
    say(
        f"{name}: right for {int((by_both == few).sum())} of {len(found)} networks, by the sign of the exponent alone "
        f"for {int((by_sign == few).sum())}; {int(few.sum())} can be run in parallel, {int((~by_sign).sum())} "
        "have an exponent above 0"
    )


def measured(cell, hidden, gain, seed):
    """The largest exponent, whether it forgets how it began, and K, None where it is above a tenth of T."""
    workload = Workload(
        cell=cell, input_size=4, hidden_size=hidden, num_layers=1, batch_size=1, seq_len=STEPS, seed=seed
    )
    network = Network(name="random", workload=workload, init=Init("normal", hidden**-0.5), gain=gain)
    module, x = network.module().double(), double(network.input())
    exponent = exponent_of(lyapunov_spectrum(module, x, k=1, warm_up=STEPS // 5).part()).value
    (system,) = systems_of(module, x, None)
    solution = solve(system.recurrence, system.first, TOLERANCE, limit=STEPS // TENTH)
    return exponent, forgets(system), solution.iterations if solution.converged else None
