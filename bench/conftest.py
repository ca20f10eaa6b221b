"""The grid of `unrolled bench` with its options by their short names, and what our own benchmarks of parts share.

pytest bench/ --benchmark-only
"""

from contextlib import contextmanager
from pathlib import Path

import pytest
from pytest_benchmark.utils import load_timer

from unrolled.pytest_plugin import RACES
from unrolled.pytest_plugin.grid import THREADS, pytest_addoption

__all__ = ["pytest_addoption"]


def pytest_ignore_collect(collection_path, config):
    """`pytest bench/` answers the question of `bench_layers.py`; the others are answered when named."""
    named = [Path(str(arg).partition("::")[0]).resolve() for arg in config.args]
    if collection_path.match("bench_*.py") and collection_path.name != "bench_layers.py":
        return collection_path.resolve() not in named or None
    return None


@pytest.fixture
def time_rounds(benchmark, request):
    """`time_rounds(runner, *others, rounds=n)`: the seconds of each in rounds of all; none where it is disabled.

    Those of the first one are what pytest-benchmark shows.
    """
    from unrolled.speed import rounds as engine

    timer = load_timer(request.config.getoption("benchmark_timer")).target

    def run(*runners, rounds):
        if not benchmark.enabled:
            for runner in runners:
                runner.reset()
                benchmark.pedantic(runner) if runner is runners[0] else runner()
            return []
        seconds = engine.time_rounds(runners, rounds, timer=timer)
        request.config.stash[RACES].replay.show(benchmark, seconds[0], lambda: None)
        return seconds

    return run


def pytest_collection_modifyitems(config, items):
    """What is measured by `time_rounds` is shown to pytest-benchmark as races are."""
    for item in items:
        if "time_rounds" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.benchmark(timer=config.stash[RACES].replay))


@pytest.fixture
def threads_asked(request):
    """`with threads_asked(2):` so many of torch's threads, unless `--threads` asks for another number."""
    import torch

    numbers = THREADS.values(request.config.getoption(THREADS.dest))

    @contextmanager
    def threads(default):
        before = torch.get_num_threads()
        torch.set_num_threads(numbers[0] if numbers else default)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return threads


@pytest.fixture
def say(request):
    """`say(line)`: a line for the end of the run."""
    return request.config.stash[RACES].note
