"""What do two workers save of a sweep, and what does a task cost beside its work?

pytest bench/bench_sweep.py --benchmark-only

It takes about five minutes.
"""

from time import perf_counter

import pytest

from unrolled.sweep.measure import measure_sweep

AXES = ["gain=0.5:2:16", "noise=0,0.1,0.3"]
SEEDS = 10
AT_LEAST = 1.8  # times as fast with two workers


@pytest.mark.parametrize("length", [501, 1001])
def bench_two_workers(length, benchmark, say):
    """480 exponents of 64 units: all of the time, from the first worker's start to the last one's end."""
    took = {}

    def run():
        rows = {}
        for workers in (1, 2):
            began = perf_counter()
            sweep = measure_sweep(
                "spectrum", AXES, {"hidden": 64, "length": length}, seeds=SEEDS, workers=workers
            )
            took[workers] = perf_counter() - began
            rows[workers] = sweep.values
        assert rows[1] == rows[2]

    benchmark.pedantic(run, rounds=1)
    ratio = took[1] / took[2]
    benchmark.extra_info.update(one_worker_s=took[1], two_workers_s=took[2], ratio=ratio)
    say(
        f"480 exponents at N = 64, {length} steps: {took[1]:.1f} s with 1 worker, {took[2]:.1f} s with 2, {ratio:.2f} "
        f"times as fast; bar {AT_LEAST}"
    )


def bench_overhead(benchmark, say):
    """2000 tasks that do nearly nothing: a reach over 2 steps of one unit."""
    axes, settings = ["gain=0.5:2:200"], {"hidden": 1, "length": 2, "batch": 1, "input": 1}
    few, many = {}, {}

    def run():
        for seeds, took in ((1, few), (10, many)):
            began = perf_counter()
            measure_sweep("gradflow", axes, settings, seeds=seeds, workers=2)
            took["s"] = perf_counter() - began

    benchmark.pedantic(run, rounds=1)
    each = (many["s"] - few["s"]) / 1800
    benchmark.extra_info.update(task_s=each)
    say(f"a task that does nearly nothing takes {1e3 * each:.1f} ms with 2 workers")
