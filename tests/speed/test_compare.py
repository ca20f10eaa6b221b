"""The gate between two runs: what fails, what is undecided, what machines may differ in; on runs made to order."""

import dataclasses
import io
import itertools
import json
import math
from functools import cache

import numpy as np
import pytest
from rich.console import Console

from tests.speed.test_result import MACHINE, PASSES, ROUNDS, noisy, result, run, untimed
from unrolled import Workload
from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.render import comparison as view
from unrolled.speed.compare import Bound, Judged, _outcome, compare_runs
from unrolled.speed.statistics import CONFIDENCE, RUN, Estimate, student

SLOWER = (Bound("slower", 0.05),)


def noisy_run(seed, ratio=(), **how):
    return _noisy_run(seed, tuple(ratio), tuple(sorted(how.items())))


@cache  # what all results of a run show together is worked out once
def _noisy_run(seed, ratios, how):
    return run(*noisy(np.random.default_rng(seed), ratios=ratios, **dict(how)))


def on(results, **machine):
    return dataclasses.replace(run(*results), environment=dataclasses.replace(MACHINE, **machine))


def test_twice_the_time_of_one_implementation_fails_and_is_named():
    found = compare_runs(noisy_run(0), noisy_run(1, ratio=[("hoisted", 3.0)]), SLOWER)
    assert found.status() == 1
    slower = [change for change in found.changes if change.outcome == "slower"]
    assert {change.name for change in slower} == {"hoisted"}
    assert len(slower) == 9
    assert {mean.name for mean in found.means if mean.outcome == "slower"} == {"hoisted"}
    (mean,) = (mean for mean in found.means if mean.name == "hoisted")
    assert mean.change.interval.low < 2 < mean.change.interval.high
    assert view.verdict(found) == "slower: hoisted"


@pytest.mark.parametrize("name", ["fused", "cells", "hoisted"])
def test_a_benchmark_that_was_ok_and_is_gone_fails(name):
    before = noisy(np.random.default_rng(0))
    after = [each for each in before if each.implementation != name]
    found = compare_runs(run(*before), run(*after), SLOWER)
    assert found.status() == 1
    assert {turn.after for turn in found.lost} == {"gone"}
    assert len(found.lost) == 9
    assert found.lost[0].label.startswith("lstm-L1-B1-")
    assert compare_runs(run(*after), run(*before), SLOWER).status() == 0  # what is new is named
    assert {turn.before for turn in compare_runs(run(*after), run(*before), SLOWER).turns} == {"new"}


@pytest.mark.parametrize("status", ["wrong", "failed", "out of memory", "timed out"])
def test_a_benchmark_that_was_ok_and_is_not_fails_on_any_machine_with_its_reason(status):
    before = noisy(np.random.default_rng(0))
    bad = untimed(status, workload=before[1].workload, phase="training", implementation="cells", threads=2)
    after = [*before[:1], bad, *before[2:]]
    for found in (
        compare_runs(run(*before), run(*after), SLOWER),
        compare_runs(run(*before), on(after, cpu="another"), SLOWER),
    ):
        assert found.status() == 1
        (turn,) = found.lost
        assert str(turn).endswith(f"cells: {status.upper()} (no), was ok")
    mended = compare_runs(run(*after), run(*before), SLOWER)
    assert mended.status() == 0
    (turn,) = mended.turns
    assert str(turn).endswith(f": ok, was {status}")


def test_what_never_had_a_time_does_not_fail():
    before = [result(), untimed("failed"), untimed("wrong", implementation="y")]
    after = [result(), untimed("wrong", reason="off")]
    found = compare_runs(run(*before), run(*after), SLOWER)
    assert found.status() == 0
    assert [(turn.before, turn.after) for turn in found.turns] == [("failed", "wrong"), ("wrong", "gone")]


def test_fused_against_itself_is_no_change_of_a_ratio():
    found = compare_runs(noisy_run(0), noisy_run(1), SLOWER)
    names = {change.name for change in found.changes if not change.of_reference}
    assert names == {"cells", "hoisted"}
    references = [change for change in found.changes if change.of_reference]
    assert len(references) == 9  # of each race its time, once
    assert all(change.name == "fused" and change.change == change.time for change in references)


def test_a_slower_torch_is_seen_where_all_ratios_stay():
    found = compare_runs(noisy_run(0), noisy_run(1, machine=1.2), SLOWER)
    assert found.status() == 1
    assert {change.of_reference for change in found.beyond} == {True}
    assert view.verdict(found) == "slower: time of fused"
    assert (
        compare_runs(noisy_run(0), noisy_run(1, machine=1.2), (*SLOWER, Bound("reference", 0.5))).status() == 0
    )
    alone = [each for each in noisy(np.random.default_rng(1), machine=1.2) if not each.is_reference]
    assert any(  # the reference of contenders, where `fused` was not asked for
        change.of_reference and change.outcome == "slower"
        for change in compare_runs(noisy_run(0), run(*alone), SLOWER).changes
    )


def test_other_machines_tell_nothing_unless_that_is_what_is_compared():
    before, slow = noisy_run(0), noisy(np.random.default_rng(1), ratios={"cells": 3.0})
    after = on(slow, torch="3.0", load_average=9.0, git_commit="abc")
    assert compare_runs(before, after, SLOWER).differences == {"torch": ("2.13.0", "3.0")}
    assert compare_runs(before, after, SLOWER).status() == 3
    assert compare_runs(before, after, SLOWER, allowed=("torch",)).status() == 1
    assert compare_runs(before, on(slow, torch="3.0", cores=4), SLOWER, allowed=("torch",)).status() == 3


def test_undecided_benchmarks_pass_unless_one_is_strict():
    wide = {"drift": 0.2, "noise": 0.05}
    found = compare_runs(noisy_run(0, **wide), noisy_run(1, **wide), SLOWER)
    assert found.undecided
    assert (found.status(), found.status(strict=True)) == (0, 3)
    assert f"{len(found.undecided)} undecided" in view.counts(found)
    same = noisy_run(0, drift=1e-4, noise=1e-4)
    assert compare_runs(same, same, SLOWER).status(strict=True) == 0


def test_faster_than_asked_fails_too_where_that_is_asked():
    before, after = noisy_run(0), noisy_run(1, ratio=[("cells", 0.5)])
    assert compare_runs(before, after, SLOWER).status() == 0
    found = compare_runs(before, after, (Bound("faster", 0.5),))
    assert {each.name for each in found.beyond} == {"cells"}
    assert {each.outcome for each in found.beyond} == {"faster"}


def test_an_interval_clears_a_bound_whole_or_not_at_all():
    half = student(math.inf) * math.sqrt(2) * RUN  # of runs whose rounds all agree
    by = [1.05 * math.exp(shift) for shift in (-half - 1e-4, -half + 1e-4, half - 1e-4, half + 1e-4)]
    exact = [compare_runs(run(result(2.0)), run(result(2.0 * each)), SLOWER) for each in by]
    assert [found.changes[0].outcome for found in exact] == ["within", "undecided", "undecided", "slower"]
    for found in compare_runs(noisy_run(2), noisy_run(3, ratio=[("cells", 1.65)]), SLOWER).changes:
        interval = found.change.interval
        if interval.low <= 1.05:
            assert found.outcome == ("undecided" if interval.high > 1.05 else "within")
        elif interval.low > 1.15:  # far enough for all of them together
            assert found.outcome == "slower"


def test_the_more_benchmarks_the_surer_one_of_them_has_to_be_that_anything_changed():
    close = math.log(1.05) + 0.001
    error = close / (student(4) + 0.1)  # alone, its interval ends just above no change

    def outcome(of):
        judged = Judged(name="x", of_reference=False, change=Estimate(close, error, 4))
        return _outcome(judged, (Bound("slower", 0.0),), of)

    assert student(4, CONFIDENCE ** (1 / 2)) * error > close > student(4) * error
    assert [outcome(1), outcome(2)] == ["slower", "undecided"]


BUSY = {"drift": 0.06, "noise": 0.04, "passes": (5,) * 5}
CALM = BUSY | {"drift": 0.02}


@pytest.mark.slow
def test_runs_that_differ_by_nothing_pass_and_a_tenth_more_time_fails():
    """On a machine so busy that hardly a benchmark is decided by itself: all pairs of these runs."""
    runs = [noisy_run(seed, **BUSY) for seed in range(10)]
    slow = [noisy_run(100 + seed, ratio=[("hoisted", 1.65)], **CALM) for seed in range(6)]
    calm = [noisy_run(200 + seed, **CALM) for seed in range(6)]
    same = [compare_runs(one, two, SLOWER) for one, two in itertools.combinations(runs, 2)]
    assert np.mean([found.status() for found in same]) <= 0.02
    assert np.mean([len(found.undecided) / len(found.changes) for found in same]) > 0.3
    told = [compare_runs(one, two, SLOWER) for one, two in itertools.product(calm, slow)]
    assert np.mean([found.status() == 1 for found in told]) >= 0.95
    assert {each.name for found in told for each in found.beyond} == {"hoisted"}


def test_a_mean_is_as_sure_as_the_means_of_passes():
    """What moves all benchmarks of a pass alike does not average out over benchmarks."""
    rng = np.random.default_rng(0)
    moved = rng.normal(scale=0.05, size=len(PASSES))

    def one(by):
        factors = np.repeat(1.5 * np.exp(by), PASSES)
        first = result()
        seconds = tuple(float(f * s) for f, s in zip(factors, first.reference_seconds[::2], strict=True))
        return [result(workload=Workload(batch_size=b), seconds=seconds) for b in range(1, 21)]

    found = compare_runs(run(*one(moved)), run(*one(0 * moved)), SLOWER)
    (mean,) = (mean for mean in found.means if not mean.of_reference)
    assert mean.change.log == pytest.approx(-moved.mean())
    alike, by_itself = moved.std(ddof=1) / math.sqrt(len(PASSES)), math.sqrt(2 / 20) * RUN
    assert mean.change.error == pytest.approx(math.hypot(alike, by_itself))


def test_runs_of_one_pass_are_compared_by_what_their_rounds_tell():
    before, after = (noisy_run(seed, passes=(15,)) for seed in range(2))
    found = compare_runs(before, after, SLOWER)
    (cells, *_) = found.means
    assert math.isinf(cells.change.degrees)
    assert found.status() == 0
    slow = compare_runs(before, noisy_run(1, passes=(15,), ratio=[("cells", 3.0)]), SLOWER)
    assert slow.status() == 1


def test_how_well_two_runs_agree_is_counted_over_contenders():
    """Four of five ratios within 5 % of each other, one far away, on both sides; `fused` does not count."""
    ratios, later = (1.5, 2.0, 3.0, 4.0, 5.0), (1.5, 2.02, 2.98, 4.0, 9.0)
    rng = np.random.default_rng(0)

    def measured(values):
        made = [result(1.0, name="fused")]
        for k, value in enumerate(values, start=1):
            noise = np.exp(rng.normal(scale=0.05, size=ROUNDS))
            seconds = tuple(value * noise)
            made.append(
                result(workload=Workload(batch_size=k), seconds=seconds, reference_seconds=(1.0,) * 2 * ROUNDS)
            )
        return run(*made)

    found = compare_runs(measured(ratios), measured(later))
    assert found.held == (0.8, 0.8)
    assert 0 < found.moved < 0.08
    (line,) = view.agreement(found)
    assert line.startswith(
        "The intervals of the first run hold 80% of the second one's ratios, and 80% the other way"
    )
    alone = run(result(1.0, name="fused"))
    assert view.agreement(compare_runs(alone, alone)) == []


def test_part_of_a_run_says_what_is_gone():
    whole = noisy(np.random.default_rng(0))
    found = compare_runs(run(*whole), run(*whole[:6]), SLOWER)
    assert len(found.lost) == len(whole) - 6
    assert len(found.changes) == 6


def test_benchmarks_are_told_apart_by_sizes_dtype_and_threads_and_not_by_seed():
    base = {"implementation": "cells", "phase": "training"}
    before = run(result(**base), result(**base, threads=1), result(workload=Workload(dtype="bfloat16")))
    after = run(result(2.2, **base), result(2.4, **base, threads=1), result(workload=Workload(seed=3)))
    found = compare_runs(before, after, SLOWER)
    changes = [each for each in found.changes if not each.of_reference]
    assert [each.after.threads for each in changes] == [2, 1]
    assert [each.change.interval.ratio for each in changes] == pytest.approx([1.1, 1.2])
    assert {turn.after for turn in found.turns} == {"gone", "ok"}
    seeds = compare_runs(run(result(workload=Workload(seed=1))), run(result(workload=Workload(seed=2))), SLOWER)
    assert len(seeds.changes) == 2
    with pytest.raises(ResultFileError, match="benchmarks in common"):
        compare_runs(before, run(untimed()))


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("slower:5%", Bound("slower", 0.05)),
        ("slower:0.05", Bound("slower", 0.05)),
        ("faster:12.5%", Bound("faster", 0.125)),
        ("reference:20%", Bound("reference", 0.2)),
        ("slower:0%", Bound("slower", 0.0)),
        ("slower:150%", Bound("slower", 1.5)),
    ],
)
def test_a_bound_is_read_and_written(text, bound):
    assert Bound.parse(text) == bound
    assert Bound.parse(str(bound)) == bound


@pytest.mark.parametrize(
    "text",
    [
        "",
        "slower",
        "slower:",
        "5%",
        "slower:5",
        "slower:-5%",
        "slower:nan",
        "quicker:5%",
        "slower:5%%",
        "slower:inf%",
    ],
)
def test_no_bound_is_refused_in_one_line(text):
    with pytest.raises(InvalidValueError, match="expected slower:5%, got") as raised:
        Bound.parse(text)
    assert "\n" not in str(raised.value)


def everything():
    """A comparison with something of every kind."""
    rng = np.random.default_rng(0)
    before = noisy(rng, drift=0.1)
    after = noisy(rng, drift=0.1, ratios={"hoisted": 6.0})
    bad = untimed(
        "wrong", workload=before[1].workload, phase="training", implementation="cells", threads=2, reason="a|b"
    )
    new = result(implementation="mine")
    later = on([*after[:1], bad, *after[2:-1], new, untimed()], cpu="another_CPU")
    return compare_runs(run(*before, untimed("wrong")), later, SLOWER)


def test_markdown_leads_with_the_verdict_and_has_no_broken_row():
    found = everything()
    text = view.markdown(found, 5)
    head, empty, columns, rule, *rest = text.splitlines()
    assert head == "### Benchmarks: 2 lost; the machines differ; slower: hoisted"
    assert empty == ""
    rows = rest[: rest.index("")]
    assert len(rows) == 5
    assert all(row.replace(r"\|", "").count("|") == columns.count("|") == rule.count("|") for row in rows)
    assert all("**slower**" in row for row in rows)
    assert r"WRONG (a\|b)" in text
    assert r"cpu differs: a CPU before, another\_CPU after" in text
    assert "undecided" in text


def test_json_has_every_change_with_its_interval():
    found = everything()
    content = json.loads(view.as_json(found, 1))
    assert content["status"] == 1
    assert content["differences"] == {"cpu": ["a CPU", "another_CPU"]}
    assert len(content["changes"]) == len(found.changes)
    for shown, change in zip(content["changes"], found.changes, strict=True):
        assert shown["change"]["low"] == pytest.approx(change.change.interval.low - 1)
        assert shown["outcome"] == change.outcome
        assert shown["workload"]["batch_size"] == change.after.workload.batch_size
    assert sum(turn["lost"] for turn in content["turns"]) == 2
    assert content["undecided"] == len(found.undecided)


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_list_the_largest_changes_and_fused_by_its_time_alone(width):
    screen = Console(width=width, file=io.StringIO(), record=True)
    found = everything()
    view.show(found, screen, 3)
    text = screen.export_text()
    assert "…" not in text
    ratios, times = text.split("time of fused (99 %)")
    assert "fused" not in ratios.split("\n", 1)[1]
    assert ratios.count("hoisted") == 3  # those beyond the bound come first
    for said in (
        "lost: lstm-L1-B1-",
        "new: ",
        "still without a time: ",
        "hoisted: +",
        "held to slower:5%",
        "2 lost",
    ):
        assert said in times


def test_runs_without_a_single_time_can_be_compared():
    found = compare_runs(run(untimed()), run(untimed()), SLOWER)
    assert (found.status(strict=True), found.changes, found.turns) == (0, (), ())
    assert view.summary(found, 3) == ["0 changes held to slower:5%: 0 undecided, 0 within."]
