"""A setting against the first one: the ratio and its interval by construction, and by many runs."""

import dataclasses
import math

import numpy as np
import pytest

from tests.render.runs import race, run
from unrolled import Workload
from unrolled.render import bench
from unrolled.speed.relative import relative, relative_frame
from unrolled.speed.statistics import RUN, Estimate, student

RATIOS = {"fused": 1.0, "cells": 2.0}


def timed(logs, threads=1, rounds=3, **fields):
    """A result of fused whose passes have these logarithms of seconds, in each round alike."""
    seconds = tuple(float(math.exp(log)) for log in logs for _ in range(rounds))
    (result,) = race({"fused": 1.0}, threads=threads)
    passes = (rounds,) * len(logs)
    return dataclasses.replace(result, passes=passes, seconds=seconds, reference_seconds=seconds, **fields)


def test_each_result_is_held_against_that_with_the_first_setting_and_all_else_alike():
    results = [
        each
        for threads in (2, 1, 4)
        for batch in (1, 16)
        for each in race(RATIOS, Workload(batch_size=batch), base=0.01 * batch / threads, threads=threads)
    ]
    found = relative(results, "threads")
    assert [(each.result.threads, each.first.threads) for each in found] == [(1, 2)] * 4 + [(4, 2)] * 4
    assert [each.interval.ratio for each in found] == pytest.approx([2.0] * 4 + [0.5] * 4)
    assert all(each.result.workload == each.first.workload for each in found)
    assert relative(results, "dtype") == []


def test_the_interval_is_that_of_the_differences_between_passes():
    """Student's, as too few are compared to tell how much such differences vary otherwise."""
    one, other = np.array([0.3, -0.1, 0.2, 0.5]), np.array([0.1, -0.2, 0.1, 0.2])
    (found,) = relative([timed(other), timed(one, threads=2)], "threads")
    difference = one - other
    expected = (Estimate(0.0, difference.std(ddof=1) / 2, 3) - Estimate(0.0, RUN, math.inf)).interval
    assert found.interval.ratio == pytest.approx(math.exp(difference.mean()))
    assert found.interval.low == pytest.approx(math.exp(difference.mean()) * expected.low)
    assert found.interval.high == pytest.approx(math.exp(difference.mean()) * expected.high)


def test_what_a_pass_does_to_both_is_in_no_interval():
    drift = np.array([0.0, 1.0, -2.0, 3.0])
    (found,) = relative([timed(drift), timed(drift + math.log(0.5), threads=2)], "threads")
    assert found.interval.ratio == pytest.approx(0.5)
    assert found.interval.half_width == pytest.approx(math.expm1(student(math.inf) * RUN))


def test_only_passes_that_both_have_are_compared():
    (found,) = relative([timed([0.0, 0.1, 0.2]), timed([1.0, 1.1], threads=2)], "threads")
    assert found.interval.ratio == pytest.approx(math.e)
    (found,) = relative([timed([0.0, 0.2]), timed([0.3], threads=2)], "threads")
    assert found.interval.ratio == pytest.approx(math.exp(0.2))


def test_of_a_single_pass_the_medians_are_compared():
    first, second = (timed([math.log(seconds)], threads=n) for n, seconds in ((1, 0.03), (2, 0.01)))
    (found,) = relative([first, second], "threads")
    assert found.interval.ratio == pytest.approx(1 / 3)


@pytest.mark.parametrize("alone", [True, False])
def test_the_reference_has_the_times_of_all_its_calls(alone):
    """Its own row, or none, where its calls are those beside a contender."""
    results = []
    for threads, seconds in ((1, (0.01, 0.04)), (2, (0.02, 0.08))):
        fused, cells = race(RATIOS, threads=threads, passes=2)
        fused = dataclasses.replace(fused, reference_seconds=seconds[:1] * 10, seconds=seconds[1:] * 10)
        results += [fused] if alone else [dataclasses.replace(cells, reference_seconds=seconds * 10)]
    found = relative(results, "threads")[0]
    assert found.result.implementation == "fused"
    assert math.exp(found.first.time.log) == pytest.approx(0.02)
    assert math.exp(found.result.time.log) == pytest.approx(0.04)
    assert found.interval.ratio == pytest.approx(2.0)


def test_rounds_that_were_left_out_of_ratios_are_left_out_here():
    kept, slow = timed([0.0, 0.0], rounds=5), timed([0.0, 0.0], threads=2, rounds=5)
    disturbed = dataclasses.replace(slow, seconds=(9.0, *slow.seconds[1:]), preempted=(0,))
    assert relative([kept, disturbed], "threads")[0].interval.ratio == pytest.approx(1.0)


def test_what_was_not_timed_has_no_ratio():
    wrong, timed_there = race({"mine": 1.0}, wrong=("mine",)), race({"mine": 1.0}, threads=4)
    for results, verdict in (([*wrong, *timed_there], "unclear"), ([*timed_there, *wrong], "wrong")):
        frame = relative_frame(results)
        mine = frame[frame["implementation"] == "mine"].iloc[0]
        assert math.isnan(mine["ratio"])
        assert mine["verdict"] == verdict


def test_the_interval_holds_the_truth_in_99_of_100():
    random = np.random.default_rng(0)
    results = []
    for threads, truth in ((1, 0.0), (2, -0.5)):
        for batch in range(1, 301):
            logs = truth + random.normal(0, 0.03, 5)
            results.append(timed(logs, threads, workload=Workload(batch_size=batch), rounds=1))
    held = [each.interval.low <= math.exp(-0.5) <= each.interval.high for each in relative(results, "threads")]
    assert 0.97 <= np.mean(held) <= 1.0
    assert len(held) == 300


def test_the_table_goes_to_a_file_where_there_is_one():
    results = [each for dtype in ("float32", "bfloat16") for each in race(RATIOS, Workload(dtype=dtype))]
    frame = bench.frames(run(results))["relative"]
    assert frame[["axis", "first", "dtype", "verdict"]].drop_duplicates().to_numpy().tolist() == [
        ["dtype", "float32", "bfloat16", "same"]
    ]
    assert bench.frames(run(race(RATIOS)))["relative"].columns.empty
