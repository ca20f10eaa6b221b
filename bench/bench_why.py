"""Does an explanation add up? Rungs against the whole, a wait put in, sizes held out, and how long it takes itself.

pytest bench/bench_why.py --benchmark-only
pytest bench/bench_why.py --benchmark-only -k held_out

It takes about half an hour in all.
"""

import itertools
import math
from dataclasses import replace
from statistics import median
from time import perf_counter

import pytest

from unrolled import Workload, why
from unrolled.implementations import load
from unrolled.implementations.cells import Cells
from unrolled.implementations.written_out import WrittenOut
from unrolled.speed.grid import workloads
from unrolled.speed.race import Race
from unrolled.speed.why.ladder import changes, contenders, has_kernel, rungs
from unrolled.speed.why.measure import BUDGET
from unrolled.speed.why.model import fit
from unrolled.speed.why.sizes import design, measured

CELLS, PHASES = ("rnn_tanh", "gru", "lstm"), ("forward", "training")
WAIT_S = 20e-6
PASSES = 7
# (T, B, H) of which none is among those of the design.
HELD_OUT = [
    (12, 1, 24), (12, 1, 96), (12, 1, 200), (12, 1, 320), (12, 2, 64), (12, 3, 256), (12, 6, 48), (12, 10, 96),
    (12, 12, 320), (12, 20, 160), (12, 24, 40), (12, 32, 128), (12, 32, 256), (12, 48, 64), (12, 48, 200), (12, 80, 96),
    (12, 96, 48), (40, 1, 128), (40, 16, 64), (40, 32, 96),
]  # fmt: skip


def ladder(workload, phase, budget):
    """The results of a race of all rungs."""
    race = Race(workload, phase, contenders(workload, phase))
    race.prepare()
    for _ in range(PASSES):
        race.run_pass(budget / PASSES, 1)
    return [race.outcome(name) for name in race.everybody]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("cell", CELLS)
def bench_product(cell, phase, benchmark, say):
    """In the default grid, the product of the rungs is cells / fused, within its interval."""

    def run():
        within, off = 0, []
        sizes = [workload for workload in workloads("quick", {"device": ("cpu",)}) if workload.cell == cell]
        for workload in sizes:
            results = ladder(workload, phase, 3.0)
            whole = next(each for each in results if each.implementation == "cells").interval
            product = math.prod(1 / rung.ratio.ratio for rung in rungs(results) if rung.change.on_ladder)
            within += whole.low <= product <= whole.high
            off.append(abs(product / whole.ratio - 1))
        return within, len(sizes), median(off), max(off)

    within, count, middle, worst = benchmark.pedantic(run, rounds=1)
    say(
        f"{cell} {phase}: in {within} of {count} workloads the product of the rungs is within the interval of cells / "
        f"fused; off by {middle:.1%} in the median, {worst:.1%} at most"
    )


def waiting(implementation):
    """The same, which waits, at work, in each step that it calls from Python."""

    def wait(*_):
        until = perf_counter() + WAIT_S
        while perf_counter() < until:
            pass

    def build(reference):
        module = implementation.build(reference)
        for part in module.cells if isinstance(module, Cells) else ():
            part.register_forward_pre_hook(wait)
        if isinstance(module, WrittenOut):
            step = module.step
            module.step = lambda *given: (wait(), step(*given))[1]
        return module

    return replace(implementation, name=f"{implementation.name}, waiting", build=build)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("cell", CELLS)
def bench_wait(cell, phase, benchmark, say):
    """20 µs in each step appear in the rung that takes the loop out of Python, and in no other.

    With and without them in the same rounds, on one thread: others go to sleep meanwhile, and take time to wake.
    """
    workload = Workload(cell=cell, batch_size=4, seq_len=50)
    ladder = [change for change in changes(workload, phase, has_kernel(workload)) if change.on_ladder]
    names = ["cells", *(change.after for change in ladder)]
    plain = [load(name) for name in names]

    def run():
        race = Race(workload, phase, [*plain, *map(waiting, plain)], threads=1)
        race.prepare()
        for _ in range(PASSES):
            race.run_pass(6.0 / PASSES, 1)
        took = {name: 1e6 * race.outcome(name).shared_s / workload.steps for name in race.everybody}
        more = [took[f"{name}, waiting"] - took[name] for name in names]
        return [before - after for before, after in itertools.pairwise(more)]

    saved = zip(ladder, benchmark.pedantic(run, rounds=1), strict=True)
    found = [f"{more:+.1f} µs from {change.before} to {change.after}" for change, more in saved]
    say(f"{cell} {phase}: 20 µs in each step are saved by each rung as {', '.join(found)}")


@pytest.mark.parametrize("cell", CELLS)
def bench_dispatch(cell, benchmark, say):
    """The rung that takes the loop out of Python does not depend on H."""

    def run():
        found = {}
        for size in (16, 64, 128, 256):
            made = rungs(ladder(Workload(cell=cell, batch_size=1, hidden_size=size), "forward", 4.0))
            rung = next(each for each in made if each.change.before == "projected" and each.change.on_ladder)
            found[size] = 1e6 * (rung.before_s - rung.after_s) / 50
        return found

    found = benchmark.pedantic(run, rounds=1)
    say(
        f"{cell} forward: the loop in C++ saves "
        + ", ".join(f"{v:.1f} µs at H = {h}" for h, v in found.items())
    )


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("cell", CELLS)
def bench_held_out(cell, phase, benchmark, say):
    """Sizes that the model was not fitted to."""
    about = Workload(cell=cell)

    def run():
        model = fit(list(measured(design(about), phase, budget=BUDGET / 2)), about)
        others = [about.replace(seq_len=t, batch_size=b, hidden_size=h) for t, b, h in HELD_OUT]
        return model, model.errors(list(measured(others, phase, budget=60.0)))

    model, errors = benchmark.pedantic(run, rounds=1)
    say(
        f"{cell} {phase}: at {len(HELD_OUT)} sizes held out the median error is {median(errors):.1%} "
        f"(loop {median(errors[0::2]):.1%}, fused {median(errors[1::2]):.1%}); at the {len(model.points)} that it was "
        f"fitted to {model.error:.1%}; bar 15 %"
    )


@pytest.mark.parametrize("phase", PHASES)
def bench_whole(phase, benchmark, say):
    """All of an explanation, at the sizes of the default."""
    began = perf_counter()
    benchmark.pedantic(why, args=(Workload(), phase), rounds=1)
    say(f"lstm {phase}: the whole of it took {perf_counter() - began:.1f} s; bar 20 s")
