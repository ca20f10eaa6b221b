"""A race from check to record, and a session that goes on when a contender fails."""

import io
import itertools
import json
import math
import re
import time

import numpy as np
import pytest
import torch
from torch import nn

from unrolled.cells import CELLS
from unrolled.errors import UnrolledError
from unrolled.implementations import Implementation, load
from unrolled.implementations.cells import Cells
from unrolled.networks.workload import Workload
from unrolled.progress import ProgressLine
from unrolled.results.codec import encode
from unrolled.results.folder import ResultFolder
from unrolled.speed import race as race_module
from unrolled.speed.grid import Case
from unrolled.speed.race import MAX_ROUNDS, race
from unrolled.speed.run import Run
from unrolled.speed.session import Session
from unrolled.speed.settings import Settings
from unrolled.speed.statistics import MIN_ROUNDS, RESOLUTION

TINY = Workload(cell="gru", input_size=3, hidden_size=4, batch_size=2, seq_len=3)


@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_race_gives_rounds_in_passes_and_what_they_cost(cell, phase):
    result = race(TINY.replace(cell=cell), phase, "cells", budget=0.01, passes=4)
    assert result.status == "ok"
    assert len(result.passes) == 4
    assert sum(result.passes) == len(result.seconds) == len(result.reference_seconds) / 2
    assert MIN_ROUNDS <= len(result.seconds) <= 4 * MAX_ROUNDS
    assert result.noise_floor >= RESOLUTION  # the least of all floors
    assert (result.saved_bytes > 0) == (phase == "training")
    assert result.equivalence_error < 1e-13  # tens of roundings of 2e-16, over 3 steps
    assert result.recheck_error < 1e-5  # the same of 6e-8
    assert result.tokens_per_s == pytest.approx(6 / result.median_s)


def test_the_reference_against_itself_is_one_call_against_the_other():
    result = race(TINY, "forward", "fused", budget=0.01)
    assert len(result.seconds) == len(result.reference_seconds)
    assert result.noise_floor == result.interval.noise_floor  # one number


@pytest.mark.parametrize("what", ["hoisted", "unrolled.implementations.hoisted:build", Cells, load("cells")])
def test_a_race_takes_a_name_a_path_a_build_function_or_an_implementation(what):
    assert race(TINY, "forward", what, budget=0.01, passes=2).status == "ok"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("gru", "forward", "cells"), {}, "workload: expected a Workload, got str"),
        ((TINY, "backward", "cells"), {}, "phase: .*got 'backward'"),
        ((TINY, "forward", "cels"), {}, "implementation: .*got 'cels'"),
        ((TINY, "forward", 3), {}, "implementation: .*got int"),
        ((TINY, "forward", "cells"), {"budget": 0.0}, r"budget: .*got 0\.0"),
        ((TINY, "forward", "cells"), {"budget": math.nan}, "budget: .*got nan"),
        ((TINY, "forward", "cells"), {"budget": "1"}, "budget: .*got '1'"),
        ((TINY, "forward", "cells"), {"passes": 0}, "passes: .*got 0"),
        ((TINY, "forward", "cells"), {"passes": 2.5}, r"passes: .*got (2\.5|float)"),
        ((TINY, "forward", "cells"), {"timeout": -1}, "timeout: .*got -1"),
        ((TINY, "forward", "cells"), {"threads": 0}, "threads: .*got 0"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(arguments, options, message):
    with pytest.raises(UnrolledError) as raised:
        race(*arguments, **options)
    assert re.match(message, str(raised.value))
    assert "\n" not in str(raised.value)


def test_threads_are_those_of_the_race_alone():
    before = torch.get_num_threads()
    assert race(TINY, "forward", "cells", budget=0.01, passes=2, threads=before + 1).threads == before + 1
    assert torch.get_num_threads() == before


class Waits(nn.Module):
    """The reference, and `wait()` before it."""

    def __init__(self, reference, wait):
        super().__init__()
        self.reference, self.wait = reference, wait

    def forward(self, input, hx=None):
        self.wait()
        return self.reference(input, hx)


def test_a_slower_implementation_is_called_slower_by_as_much():
    """On a clock that goes 1 s at each look and 20 s in each call of the slower one: 21 to 1."""
    clock = itertools.count()

    def timer():
        return float(next(clock))

    def wait():
        for _ in range(20):
            timer()

    slow = Implementation("slow", lambda reference: Waits(reference, wait))
    result = race(TINY, "forward", slow, budget=0.01, timer=timer)
    assert result.verdict == "slower"
    assert set(result.seconds) == {21.0}  # whole numbers
    assert set(result.reference_seconds) == {1.0}
    assert result.interval.ratio == pytest.approx(21)


@pytest.mark.timing
def test_a_slower_implementation_is_called_slower_on_the_clock_of_the_wall():
    slow = Implementation("slow", lambda reference: Waits(reference, lambda: time.sleep(0.02)))
    result = race(TINY, "forward", slow, budget=0.3)
    assert result.verdict == "slower"  # by a factor of a hundred, where nothing computes beside it
    assert result.median_s > 0.019  # the clocks of sleep and race may differ


def test_every_round_has_an_input_of_its_own(monkeypatch):
    seen, timed = [], race_module.timed

    def watched(runner, timer):
        seen.append(runner.input.detach().clone())
        return timed(runner, timer)

    monkeypatch.setattr("unrolled.speed.race.timed", watched)
    race(TINY, "training", "cells", budget=0.01, passes=2)
    rounds = [seen[k : k + 3] for k in range(0, len(seen), 3)]  # the reference twice, and cells
    assert all(torch.equal(a, b) and torch.equal(b, c) for a, b, c in rounds)
    assert len({float(a.norm()) for a, _, _ in rounds}) > len(rounds) / 2
    base = TINY.input()
    assert all(abs(float((a / base).mean()) - 1) <= 0.1 + 1e-6 for a, _, _ in rounds)


class Wrong(Cells):
    def forward(self, input, hx=None):
        output, state = super().forward(input, hx)
        return output * 1.01, state


class WrongInFloat32(Cells):
    def forward(self, input, hx=None):
        output, state = super().forward(input, hx)
        return (output if input.dtype == torch.float64 else output * 1.1), state


@pytest.mark.parametrize(("build", "dtype"), [(Wrong, "float64"), (WrongInFloat32, "float32")])
def test_a_wrong_implementation_gets_no_time(build, dtype):
    result = race(TINY, "forward", build)
    assert (result.status, result.verdict) == ("wrong", "wrong")
    assert result.reason.startswith(f"in {dtype}: ")
    assert not result.seconds
    assert math.isnan(result.median_s)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.filterwarnings("default")  # torch has warnings of its own while it compiles
def test_compile_time_is_measured_on_its_own_and_is_in_no_round():
    result = race(TINY, "forward", "compiled", budget=0.02)
    assert result.status == "ok"
    # Compiling takes a second or more, less where compiled code is cached, and a round about a millisecond.
    assert result.compile_s > 10 * result.median_s
    assert max(result.seconds) < result.compile_s
    assert result.uncompiled_s > 0
    assert result.pays_after_calls > 1


class Broken(Cells):
    def forward(self, input, hx=None):
        raise RuntimeError("it broke\nand went on about it")


class Hungry(Cells):
    def forward(self, input, hx=None):
        return torch.empty(2**58), None  # 2^60 bytes


def measured(tmp_path, *cases, keep=lambda run: None, **options):
    """A session that has measured cases, each a phase and a name."""
    builds = {"broken": Broken, "hungry": Hungry, "wrong": Wrong}
    builds = {name: Implementation(name, build) for name, build in builds.items()}
    builds |= {name: load(name) for name in ("fused", "cells", "hoisted")}
    running = Session(Settings((), builds, 0.01, tmp_path, **{"passes": 3} | options), keep)
    running.measure([Case(TINY, *case) for case in cases], ProgressLine(io.StringIO()))
    return running


def every_field(result):
    """As text, in which NaN is like NaN and a float is what its decimals say."""
    return json.dumps(encode(result))


def test_a_session_goes_on_after_a_failure(tmp_path):
    names = ("fused", "broken", "hungry", "wrong", "cells")
    results = measured(tmp_path, *(("forward", name) for name in names)).results
    assert [result.implementation for result in results] == list(names)
    assert [result.status for result in results] == ["ok", "failed", "out of memory", "wrong", "ok"]
    assert results[1].reason == "RuntimeError: it broke"
    assert math.isnan(results[1].noise_floor)
    assert math.isnan(results[1].median_s)


def test_all_contenders_of_a_workload_have_the_same_reference_in_every_round(tmp_path):
    fused, cells, hoisted = measured(
        tmp_path, *(("forward", name) for name in ("fused", "cells", "hoisted"))
    ).results
    assert cells.reference_seconds == hoisted.reference_seconds
    assert cells.reference_seconds[::2] == fused.reference_seconds
    assert cells.reference_seconds[1::2] == fused.seconds
    assert cells.noise_floor == hoisted.noise_floor == fused.noise_floor  # one number, of the same calls
    assert cells.reference_median_s == hoisted.reference_median_s


def test_what_a_session_has_so_far_is_kept_and_can_be_read(tmp_path):
    kept = []
    with ResultFolder(tmp_path, "bench") as folder:

        def keep(run):
            kept.append(run)
            folder.keep(run)

        running = measured(
            tmp_path, ("forward", "fused"), ("training", "broken"), ("training", "wrong"), keep=keep
        )
        assert 1 <= len(kept[0].results) <= 3
    loaded = Run.load(folder.partial)
    assert [every_field(result) for result in loaded.results] == [every_field(r) for r in running.results]
    assert loaded.during.seconds > 0


def test_rounds_are_shared_out_among_passes(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr("unrolled.speed.race.MAX_ROUNDS", 7)
    measured(tmp_path, ("forward", "fused"), ("forward", "cells"), keep=kept.append, fewest_rounds=21)
    assert kept[-1].results[0].passes == (7, 7, 7)


def test_what_is_undecided_gets_more_passes_and_what_is_decided_does_not(tmp_path, monkeypatch):
    """On a clock that shows chance alone, `cells` stays undecided; on one that shows its calls it does not."""
    clock = iter(np.cumsum(np.random.default_rng(0).lognormal(sigma=0.5, size=10**6)))
    builds = {name: load(name) for name in ("fused", "cells")}
    settings = Settings((), builds, 1e-3, tmp_path, passes=3, fewest_rounds=3, until_decided=0.3)
    running = Session(settings, lambda run: None)
    cases = [Case(TINY, "forward", "fused"), Case(TINY, "training", "cells")]
    running.measure(cases, ProgressLine(io.StringIO()), lambda: next(clock))
    fused, cells = running.results
    assert len(fused.passes) == 3  # it is not asked whether the reference is faster than itself
    assert len(cells.passes) > 3


def test_modules_are_built_again_where_they_may_not_be_held(tmp_path, monkeypatch):
    built = []
    reference = Workload.reference
    monkeypatch.setattr(
        Workload, "reference", lambda self, **o: built.append(self.dtype) or reference(self, **o)
    )
    cases = [("forward", "fused"), ("forward", "cells"), ("training", "cells")]
    held = measured(tmp_path, *cases).results
    once = built.count("float32")
    monkeypatch.setattr("unrolled.speed.session.SHARE_HELD", 0.0)
    built.clear()
    results = measured(tmp_path, *cases).results
    assert built.count("float32") >= once + 2 * 2  # two races, in two passes more
    assert [result.status for result in results] == ["ok"] * 3
    assert [len(result.passes) for result in results] == [len(result.passes) for result in held]


def test_accounting_adds_up(tmp_path):
    running = measured(tmp_path, ("training", "fused"), ("training", "cells"))
    spent = running.run().accounting
    assert 0 < spent["timed_s"] < spent["total_s"]
    outside = spent["total_s"] - spent["timed_s"] - spent["warm_up_s"] - spent["imports_s"]
    assert spent["share_outside"] == pytest.approx(outside / spent["total_s"])
    _, cells = running.results
    assert spent["timed_s"] == pytest.approx(sum(cells.seconds) + sum(cells.reference_seconds))


@pytest.mark.cuda
@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["fused", "cells", "hoisted"])
def test_a_race_on_cuda_records_event_times_and_peak_memory(name, cell, phase):
    result = race(TINY.replace(cell=cell, device="cuda"), phase, name, budget=0.05)
    assert result.status == "ok"
    assert len(result.event_seconds) == len(result.seconds)
    assert len(result.reference_event_seconds) == len(result.reference_seconds)
    assert result.event_median_s <= result.median_s + 2e-6  # an event's clock ticks in halves of 1e-6 s
    assert result.peak_bytes > 0
