"""A race from check to record, and a session that goes on when a contender fails."""

import dataclasses
import itertools
import json
import math
import time

import pytest
import torch
from torch import nn

from unrolled.cells import CELLS
from unrolled.implementations import Implementation, load
from unrolled.implementations.cells import Cells
from unrolled.networks.workload import Workload
from unrolled.results.folder import ResultFolder
from unrolled.speed.grid import Case
from unrolled.speed.race import MAX_ROUNDS, race
from unrolled.speed.run import Run
from unrolled.speed.session import Session
from unrolled.speed.settings import Settings
from unrolled.speed.statistics import MIN_ROUNDS, RESOLUTION

TINY = Workload(cell="gru", input_size=3, hidden_size=4, batch_size=2, seq_len=3)


@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_race_gives_paired_rounds_and_what_they_cost(cell, phase):
    result = race(TINY.replace(cell=cell), phase, load("cells"), budget=0.01, noise_floor=1.1)
    assert result.status == "ok"
    assert len(result.seconds) == len(result.reference_seconds) == len(result.reference_first)
    assert MIN_ROUNDS <= len(result.seconds) <= MAX_ROUNDS
    assert len(result.seconds) % 2 == 1
    assert result.noise_floor == 1.1  # as it was given
    assert (result.saved_bytes > 0) == (phase == "training")
    assert result.equivalence_error < 1e-13  # tens of roundings of 2e-16, over 3 steps
    assert result.tokens_per_s == pytest.approx(6 / result.median_s)


def test_without_a_noise_floor_fused_is_raced_against_itself_first():
    result = race(TINY, "forward", load("hoisted"), budget=0.01)
    assert result.noise_floor >= RESOLUTION  # the least of all floors


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
    result = race(TINY, "forward", slow, budget=0.01, noise_floor=1.5, timer=timer)
    assert result.verdict == "slower"
    assert set(result.seconds) == {21.0}  # whole numbers
    assert set(result.reference_seconds) == {1.0}
    assert result.interval.ratio == pytest.approx(21)


@pytest.mark.timing
def test_a_slower_implementation_is_called_slower_on_the_clock_of_the_wall():
    slow = Implementation("slow", lambda reference: Waits(reference, lambda: time.sleep(0.02)))
    result = race(TINY, "forward", slow, budget=0.1, noise_floor=1.5)
    assert result.verdict == "slower"  # by a factor of a hundred, where nothing computes beside it
    assert result.median_s > 0.019  # the clocks of sleep and race may differ


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
    result = race(TINY, "forward", Implementation("wrong", build), noise_floor=1.1)
    assert (result.status, result.verdict) == ("wrong", "wrong")
    assert result.reason.startswith(f"in {dtype}: largest error ")
    assert not result.seconds
    assert math.isnan(result.median_s)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.filterwarnings("default")  # torch has warnings of its own while it compiles
def test_compile_time_is_measured_on_its_own_and_is_in_no_round():
    result = race(TINY, "forward", load("compiled"), budget=0.02, noise_floor=1.1)
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


def session(tmp_path, keep=lambda run: None, **implementations):
    builds = {"fused": load("fused")} | {n: Implementation(n, b) for n, b in implementations.items()}
    return Session(Settings((), builds, 0.01, tmp_path), keep)


def every_field(result):
    """As text, in which NaN is like NaN and a float is what its decimals say."""
    return json.dumps(dataclasses.asdict(result))


def test_a_session_goes_on_after_a_failure_and_keeps_each_result_at_once(tmp_path):
    kept = []
    running = session(tmp_path, kept.append, broken=Broken, hungry=Hungry, wrong=Wrong, cells=Cells)
    for k, name in enumerate(("fused", "broken", "hungry", "wrong", "cells"), start=1):
        running.race(Case(TINY, "forward", name))
        assert [len(run.results) for run in kept] == list(range(1, k + 1))
    assert [result.status for result in running.results] == ["ok", "failed", "out of memory", "wrong", "ok"]
    assert running.results[1].reason == "RuntimeError: it broke"
    assert math.isnan(running.results[1].noise_floor)
    assert math.isnan(running.results[1].median_s)


def test_what_a_session_has_so_far_is_on_disk_whole(tmp_path):
    with ResultFolder(tmp_path, "bench") as folder:
        running = session(tmp_path, folder.keep, broken=Broken, wrong=Wrong)
        running.race(Case(TINY, "forward", "fused"))
        assert len(Run.load(folder.partial).results) == 1
        running.race(Case(TINY, "training", "broken"))
        running.race(Case(TINY, "training", "wrong"))
    loaded = Run.load(folder.partial)
    assert [every_field(result) for result in loaded.results] == [every_field(r) for r in running.results]
    assert set(loaded.accounting) == set(running.accounting())


def test_the_noise_floor_of_a_session_is_the_one_that_fused_showed(tmp_path):
    running = session(tmp_path, cells=Cells)
    fused = running.race(Case(TINY, "forward", "fused"))
    cells = running.race(Case(TINY, "forward", "cells"))
    assert cells.noise_floor == fused.noise_floor == fused.interval.noise_floor  # one number, handed on


def test_accounting_adds_up(tmp_path):
    running = session(tmp_path, cells=Cells)
    running.race(Case(TINY, "training", "fused"))
    spent = running.accounting()
    assert 0 < spent["timed_s"] < spent["total_s"]
    outside = spent["total_s"] - spent["timed_s"] - spent["warm_up_s"] - spent["imports_s"]
    assert spent["share_outside"] == pytest.approx(outside / spent["total_s"])


@pytest.mark.cuda
@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["fused", "cells", "hoisted"])
def test_a_race_on_cuda_records_event_times_and_peak_memory(name, cell, phase):
    result = race(TINY.replace(cell=cell, device="cuda"), phase, load(name), budget=0.05, noise_floor=1.1)
    assert result.status == "ok"
    assert len(result.event_seconds) == len(result.seconds) == len(result.reference_event_seconds)
    assert result.event_median_s <= result.median_s + 2e-6  # an event's clock ticks in halves of 1e-6 s
    assert result.peak_bytes > 0
