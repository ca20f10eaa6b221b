"""How often does a race call a difference where there is none, and how often does it find one that is there?

pytest bench/bench_verdicts.py --benchmark-only
pytest bench/bench_verdicts.py --benchmark-only -k quiet
pytest bench/bench_verdicts.py --benchmark-only -k "gate or alike"

`busy` runs beside two processes that do nothing but compute. What is injected is real: after each forward pass the
slower one waits, at work, for its share of the time that this pass took. It takes about half an hour in all.
"""

import contextlib
import io
import itertools
import subprocess
import sys
from collections import Counter
from time import perf_counter

import pytest
from torch import nn

from unrolled.implementations import Implementation, load
from unrolled.networks.workload import Workload
from unrolled.progress import ProgressLine
from unrolled.speed.compare import Bound, compare_runs
from unrolled.speed.grid import cases
from unrolled.speed.race import race
from unrolled.speed.session import Session
from unrolled.speed.settings import DEFAULT_BUDGET, DEFAULT_OUT, Settings

CELLS = ("rnn_tanh", "gru", "lstm")
ALIKE = 500
# Slowdown, seconds of a race, races, and the share of them in which it should be found.
INJECTED = {"quiet": (0.05, 3.0, 60, 0.95), "busy": (0.20, 10.0, 30, 0.90)}
BUSY_PROCESSES = 2
# Each run is compared with each other one: 210 comparisons of runs alike, and 210 with one that became slower. They are
# not independent: what makes one run another makes all of its comparisons.
RUNS, SLOWED_RUNS, SLOWED_BY, BOUND = 21, 10, 0.10, 0.05


class Slowed(nn.Module):
    """The reference, which takes a share longer."""

    def __init__(self, reference, share):
        super().__init__()
        self.reference, self.share = reference, share

    def forward(self, input, hx=None):
        """As the reference; then wait, at work."""
        started = perf_counter()
        result = self.reference(input, hx)
        until = perf_counter()
        until += self.share * (until - started)
        while perf_counter() < until:
            pass
        return result


def alike(reference):
    """The reference itself, under another name: a wrapper would take a microsecond or two longer, which is found."""
    return reference


def slowed(name, share):
    """An implementation that takes a share longer, under its name, or `mine` where that is the reference's."""
    build = load(name).build
    return Implementation(
        "mine" if name == "fused" else name, lambda reference: Slowed(build(reference), share)
    )


@pytest.fixture(params=["quiet", "busy"])
def machine(request):
    """Without anything beside, or with two busy processes."""
    command = [sys.executable, "-c", "while True: pass"]
    with contextlib.ExitStack() as stack:
        for _ in range(BUSY_PROCESSES if request.param == "busy" else 0):
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
        yield request.param


def verdicts(implementation, races, budget, benchmark):
    """What so many races said, over cells and small and middling batches."""
    workloads = itertools.cycle([Workload(cell=cell, batch_size=batch) for cell in CELLS for batch in (1, 16)])

    def run():
        some = itertools.islice(workloads, races)
        return Counter(race(workload, "forward", implementation, budget=budget).verdict for workload in some)

    return benchmark.pedantic(run, rounds=1)


def bench_alike(machine, benchmark, say):
    """The fused module against itself under another name."""
    found = verdicts(alike, ALIKE, DEFAULT_BUDGET / 2, benchmark)
    called = found["faster"] + found["slower"]
    say(
        f"{machine}: of {ALIKE} races of the fused module against itself, {called} were called ({dict(found)}); bar 2 %"
    )


def bench_injected(machine, benchmark, say):
    """A slowdown that is there."""
    share, budget, races, bar = INJECTED[machine]
    found = verdicts(slowed("fused", share), races, budget, benchmark)
    say(
        f"{machine}: {share:.0%} slower, races of {budget:g} s: found in {found['slower']} of {races} "
        f"({dict(found)}); bar {bar:.0%}"
    )


def measured(names):
    """A run over a small grid, with implementations under the names of others."""
    implementations = {
        name: each if isinstance(each, Implementation) else load(each) for name, each in names.items()
    }
    workloads = [Workload(cell=cell, batch_size=batch) for cell in CELLS for batch in (1, 16)]
    chosen = tuple(cases(workloads, ("forward",), tuple(implementations)))
    session = Session(Settings(chosen, implementations, DEFAULT_BUDGET, DEFAULT_OUT), lambda run: None)
    session.measure(chosen, ProgressLine(io.StringIO()))
    return session.run()


def bench_gate(benchmark, say):
    """Runs compared with each other, and with runs in which one implementation became slower."""
    usual = {name: name for name in ("fused", "cells", "hoisted")}
    slower = usual | {"hoisted": slowed("hoisted", SLOWED_BY)}

    def run():
        return [measured(usual) for _ in range(RUNS)], [measured(slower) for _ in range(SLOWED_RUNS)]

    before, after = benchmark.pedantic(run, rounds=1)
    bounds = (Bound("slower", BOUND),)
    alike = [compare_runs(*pair, bounds) for pair in itertools.combinations(before, 2)]
    changed = [compare_runs(*pair, bounds) for pair in itertools.product(before, after)]
    for what, found in (("alike", alike), (f"with hoisted {SLOWED_BY:.0%} slower", changed)):
        red = sum(each.status() == 1 for each in found)
        say(
            f"of {len(found)} comparisons of runs {what}, {red} are red at {BOUND:.0%} ({red / len(found):.1%})"
        )
