"""A result keeps raw rounds, derives every figure, survives a trip to disk, and damaged files are refused."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.processes import ROOT
from unrolled import Environment, Workload
from unrolled.errors import ResultFileError
from unrolled.render import bench
from unrolled.render.files import write_frames
from unrolled.render.speed_summary import summary
from unrolled.speed.load import Load
from unrolled.speed.result import Drifts, Result, frame, settled
from unrolled.speed.run import Run, accounting
from unrolled.speed.statistics import MIN_ROUNDS, RUN, Drift, Passes, median_interval, student

MACHINE = Environment(
    cpu="a CPU",
    cores=2,
    threads=2,
    os="Linux 6",
    python="3.12.1",
    torch="2.13.0",
    onednn="3.12.0",
    mkl=None,
    cuda=None,
    cudnn=None,
    gpu=None,
    matmul_tf32=False,
    cudnn_tf32=True,
    matmul_precision="highest",
    load_average=0.1,
    git_commit=None,
)


PASSES = (5, 5, 5)
ROUNDS = sum(PASSES)


def every_field(one):
    """As text, in which NaN is NaN."""
    return repr(dataclasses.asdict(one))


def result(ratio=2.0, name="cells", **fields):
    """Three passes of five rounds, in each of which the implementation takes `ratio` times as long, exactly."""
    reference = [0.0103, 0.0104, 0.0105, 0.0106, 0.0107] * len(PASSES)
    calls = 1 if name == "fused" else 2
    values = {
        "workload": Workload(hidden_size=(30, 20), seq_len=10, batch_size=4),
        "phase": "training",
        "implementation": name,
        "threads": 2,
        "passes": PASSES,
        "seconds": tuple(ratio * s for s in reference),
        "reference_seconds": tuple(s for s in reference for _ in range(calls)),
        "noise_floor": 1.05,
        "saved_bytes": 1000,
        "spent_s": {"check": 0.5, "warm_up": 0.25, "memory": 0.125},
    }
    return Result(**{**values, **fields})


def untimed(status="failed", **fields):
    """What got no time."""
    values = {"workload": Workload(), "phase": "forward", "implementation": "x", "threads": 1, "reason": "no"}
    return Result(status=status, **{**values, **fields})


def noisy(
    rng, names=("cells", "hoisted"), cells=9, passes=PASSES, drift=0.01, noise=0.01, ratios=(), machine=1.0
):
    """The results of a run over `cells` workloads: passes differ by `drift`, rounds by `noise`, in logarithms.

    All take `machine` times as long, and `ratios[name]` times the reference, 1.5 times where nothing is said.
    """
    rounds, made = sum(passes), []
    for batch in range(1, cells + 1):
        moved = np.repeat(rng.normal(scale=drift, size=(len(passes), len(names))), passes, axis=0)
        reference = 0.01 * machine * np.exp(noise * rng.normal(size=(rounds, 2)))
        shared = {
            "workload": Workload(batch_size=batch),
            "reference_seconds": tuple(map(float, reference.ravel())),
        }
        first, again = (tuple(map(float, column)) for column in reference.T)
        made.append(result(name="fused", passes=passes, seconds=again, **shared | {"reference_seconds": first}))
        for k, name in enumerate(names):
            logs = noise * rng.normal(size=rounds) + moved[:, k]
            seconds = 0.01 * machine * dict(ratios).get(name, 1.5) * np.exp(logs)
            made.append(result(name=name, passes=passes, seconds=tuple(map(float, seconds)), **shared))
    return made


def run(*results):
    return Run(MACHINE, "2026-01-01T00:00:00+00:00", results, accounting(results, 8.0, 0.5, 0.0), None, None)


def test_figures_follow_from_the_rounds():
    one = result(2.0)
    assert one.median_s == pytest.approx(0.021)
    assert one.reference_median_s == pytest.approx(0.0105)
    assert one.interval.ratio == pytest.approx(2.0)
    assert one.verdict == "slower"
    assert one.tokens_per_s == pytest.approx(40 / 0.021)
    assert one.row()["hidden_size"] == "30+20"
    assert result(0.5).verdict == "faster"
    assert result(1.04).verdict == "same"


def test_a_race_by_itself_says_what_happened_and_a_grid_what_any_run_would_find():
    alone = result(1.04)
    assert alone.interval.half_width == pytest.approx(0, abs=1e-9)  # all rounds agree
    of_a_grid = dataclasses.replace(alone, drifts=Drifts(Drift(0.0, 5.0), Drift()))
    of_a_run = math.expm1(student(math.inf) * RUN)
    assert of_a_grid.interval.half_width == pytest.approx(of_a_run)
    assert of_a_grid.verdict == "unclear"  # it ends above 5 %
    assert alone.estimate.interval.half_width == pytest.approx(of_a_run)  # what is compared with another run
    itself = result(1.04, name="fused", drifts=Drifts(Drift(0.0, 5.0), Drift()))
    assert itself.interval.half_width == pytest.approx(0, abs=1e-9)


def test_fused_against_itself_can_be_called_different():
    assert result(1.2, name="fused", noise_floor=1.2).verdict == "slower"
    assert result(1.0, name="fused", noise_floor=1.01).verdict == "same"


def test_compiling_pays_after_its_cost_over_its_gain():
    quarter = {"seconds": (0.25,) * ROUNDS, "reference_seconds": (0.25,) * ROUNDS, "compile_s": 2.4}
    assert result(**quarter, uncompiled_s=0.5).pays_after_calls == 10
    assert result(**quarter, uncompiled_s=0.375).pays_after_calls == 20
    assert result(**quarter, uncompiled_s=0.2).pays_after_calls == math.inf
    assert math.isnan(result(1.0).pays_after_calls)


def test_a_run_survives_a_trip_to_disk_with_its_environment_and_load(tmp_path):
    load = Load(2.0, 2, 1.0, 0.5, 0.0, 3, None)
    kept = run(
        result(2.0), result(1.0, name="fused"), result(compile_s=3.0, uncompiled_s=0.1, preempted=(0, 7))
    )
    kept = dataclasses.replace(kept, before=load, during=load)
    kept.save(tmp_path / "bench.json")
    loaded = Run.load(tmp_path / "bench.json")
    # A float's decimals are read back as that float; as text, NaN is equal to NaN.
    unsettled = [dataclasses.replace(each, noise_floor=math.nan) for each in kept.results]
    assert every_field(loaded) == every_field(dataclasses.replace(kept, results=tuple(unsettled)))
    assert loaded.frame().equals(kept.frame())  # what is not kept follows from the rest


def test_the_published_run_is_read_and_shows_what_is_published_beside_it(tmp_path):
    import pandas as pd

    folder = ROOT / "docs" / "results" / "cpu"
    loaded = Run.load(folder / "bench.json")
    table = pd.read_csv(write_frames(bench.frames(loaded), tmp_path)[0])
    published = pd.read_csv(folder / "bench.csv")
    exact = ["cell", "hidden_size", "phase", "implementation", "threads", "status", "rounds", "saved_bytes"]
    assert table[exact].equals(published[exact])
    np.testing.assert_allclose(table["ratio"], published["ratio"], rtol=1e-9)
    assert all(len(each.passes) >= each.timed for each in loaded.results)


def test_a_file_of_version_2_is_read_as_one_pass_of_pairs(tmp_path):
    run(result(2.0), untimed()).save(tmp_path / "bench.json")
    content = json.loads((tmp_path / "bench.json").read_text()) | {"version": 2}
    del content["before"], content["during"]
    for each in content["results"]:
        del each["passes"], each["preempted"], each["recheck_error"]
        each["reference_seconds"] = each["reference_seconds"][::2]
        each |= {"reference_first": [True] * len(each["seconds"]), "noise_floor": 1.02}
    content["accounting"] = {}
    (tmp_path / "bench.json").write_text(json.dumps(content))
    loaded = Run.load(tmp_path / "bench.json")
    assert [each.passes for each in loaded.results] == [(ROUNDS,), ()]
    assert loaded.results[0].calls_of_reference == 1
    assert loaded.settled[0].interval.ratio == pytest.approx(2.0)
    assert math.isnan(loaded.settled[0].noise_floor)  # no `fused` shows one
    loaded.save(tmp_path / "bench.json")
    assert every_field(Run.load(tmp_path / "bench.json")) == every_field(loaded)


def test_a_file_that_version_1_wrote_says_what_it_said(tmp_path):
    """Three benchmarks of a run of 2026-11-23 on a Xeon, beside what its table had."""
    loaded = Run.load(Path(__file__).parent / "bench_version_1.json")
    frame = loaded.frame().set_index("implementation")
    for name, (ratio, low, high) in PUBLISHED.items():
        row = frame.loc[name]
        # Its interval was not symmetric; what is kept of it is its width, in the logarithm.
        assert row["ratio"] == pytest.approx(ratio, rel=1e-9)
        assert math.log(row["ratio_high"] / row["ratio_low"]) == pytest.approx(math.log(high / low))
        assert row["noise_floor"] == frame.loc["fused", "noise_floor"]
        assert row["passes"] == 1
    loaded.save(tmp_path / "bench.json")
    assert every_field(Run.load(tmp_path / "bench.json")) == every_field(loaded)


PUBLISHED = {
    "fused": (1.0170086609583717, 0.9532901053820044, 1.084666630882714),
    "cells": (3.9787637588008886, 3.412223198805626, 5.1872320352033015),
    "hoisted": (3.6230420381091872, 3.0177363630813536, 4.544185384679578),
}


def test_null_was_nan_in_version_1_and_an_interrupted_run_had_no_accounting(tmp_path):
    run(result()).save(tmp_path / "bench.json")
    content = json.loads((tmp_path / "bench.json").read_text()) | {"version": 1}
    del content["accounting"], content["before"], content["during"]
    (each,) = content["results"]
    del each["passes"], each["preempted"], each["recheck_error"], each["notes"]
    each |= {"reference_first": [True] * ROUNDS, "noise_floor": None, "equivalence_error": None}
    (tmp_path / "bench.json").write_text(json.dumps(content))
    loaded = Run.load(tmp_path / "bench.json")
    assert math.isnan(loaded.results[0].noise_floor)
    assert math.isnan(loaded.results[0].equivalence_error)
    assert loaded.accounting == {}


def test_without_a_time_every_figure_is_nan_and_none_is_0():
    failed = untimed().row()
    figures = [
        "median_s",
        "reference_median_s",
        "event_median_s",
        "ratio",
        "ratio_low",
        "ratio_high",
        "noise_floor",
    ]
    figures += ["tokens_per_s", "gflops", "pays_after_calls", "equivalence_error", "recheck_error"]
    assert [name for name in figures if not math.isnan(failed[name])] == []
    assert math.isnan(result().event_median_s)  # on the CPU there are no events


def test_the_csv_is_tidy_and_has_the_promised_columns(tmp_path):
    import pandas as pd

    failed = untimed(reason="")
    (path,) = write_frames(bench.frames(run(result(1.5), failed)), tmp_path)
    table = pd.read_csv(path)
    promised = (
        "cell num_layers hidden_size batch_size seq_len phase implementation device dtype threads median_s ratio "
        "ratio_low ratio_high verdict tokens_per_s gflops saved_bytes"
    )
    assert set(promised.split()) <= set(table.columns)
    assert list(table["verdict"]) == ["slower", "failed"]
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert float(text["median_s"][0]) == pytest.approx(1.5 * 0.0105)
    assert text["median_s"][1] == "nan"
    assert list(text["saved_bytes"]) == ["1000", "nan"]  # whole beside one that is missing


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "great"}, "status"),
        ({"phase": "backward"}, "phase"),
        ({"implementation": ""}, "implementation"),
        ({"threads": 0}, "threads"),
        ({"status": "failed", "reason": "no"}, "no time"),
        ({"reason": "it was late"}, "reason"),
        ({"passes": (5, 5)}, "passes of all"),
        ({"passes": (5, 0, 10)}, "passes"),
        ({"passes": ()}, "passes of all"),
        ({"seconds": (0.01,) * (ROUNDS - 1)}, "passes of all"),
        ({"reference_seconds": (0.01,) * (ROUNDS + 1)}, "one or two calls"),
        ({"reference_seconds": (0.01,) * 3 * ROUNDS}, "one or two calls"),
        ({"implementation": "fused"}, "one call of the reference"),
        ({"seconds": (-0.01,) * ROUNDS}, "seconds"),
        ({"seconds": (0.5,) * ROUNDS, "reference_seconds": (1e12,) * ROUNDS}, "reference_seconds"),
        ({"preempted": (ROUNDS,)}, "pre-empted"),
        ({"preempted": (3, 3)}, "pre-empted"),
        ({"preempted": (4, 2)}, "pre-empted"),
        ({"preempted": (-1,)}, "preempted"),
        ({"event_seconds": (0.01,) * ROUNDS}, "event for each"),
        (
            {"workload": Workload(device="cuda"), "event_seconds": (0.01,) * ROUNDS, "peak_bytes": 5},
            "both sides",
        ),
        ({"equivalence_error": -1e-9}, "error"),
        ({"equivalence_error": math.inf}, "error"),
        ({"recheck_error": -1e-9}, "error"),
        ({"recheck_error": 2.0}, "after the clock"),
        ({"saved_bytes": -1}, "saved_bytes"),
        ({"compile_s": 1.0}, "compiling"),
        ({"phase": "forward"}, "backward"),
        ({"peak_bytes": 5}, "peak"),
        ({"spent_s": {"lunch": 1.0}}, "time of"),
        ({"spent_s": {}}, "time of"),
        ({"spent_s": {"check": -1.0}}, "spent_s"),
    ],
)
def test_a_result_that_no_race_gives_is_refused_when_it_is_read(tmp_path, changes, said):
    run(result(), result(**changes)).save(tmp_path / "bench.json")
    with pytest.raises(ResultFileError, match=re.escape(said)) as raised:
        Run.load(tmp_path / "bench.json")
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"started": "now"}, "now"),
        ({"started": "2026-01-01T00:00:00"}, "zone"),
        ({"results": ()}, "results"),
        ({"accounting": {"total_s": 1.0}}, "imports_s"),
        ({"accounting": accounting((), 8.0, 0.5, 0.0)}, "these results"),
        ({"accounting": accounting((result(),), 8.0, -0.5, 0.0)}, "time"),
        ({"accounting": accounting((result(),), 8.0, 0.5, math.nan)}, "accounting"),
        ({"accounting": accounting((result(),), 8.0, 0.5, 0.0) | {"share_outside": 0.5}}, "these results"),
        ({"environment": dataclasses.replace(MACHINE, cores=0)}, "core"),
        ({"environment": dataclasses.replace(MACHINE, load_average=-1.0)}, "-1.0"),
        ({"before": Load(-1.0, 2, 1.0, 0.5, 0.0, 3, None)}, "before.seconds"),
    ],
)
def test_a_run_that_never_was_is_refused_when_it_is_read(tmp_path, changes, said):
    dataclasses.replace(run(result()), **changes).save(tmp_path / "bench.json")
    with pytest.raises(ResultFileError, match=re.escape(said)):
        Run.load(tmp_path / "bench.json")


def test_events_and_the_cost_of_compiling_are_read_where_there_were_some(tmp_path):
    events = {"event_seconds": (0.01,) * ROUNDS, "reference_event_seconds": (0.0,) * 2 * ROUNDS}
    compiled = {"peak_bytes": 5, "compile_s": -0.1, "uncompiled_s": 0.2, "equivalence_error": 1e-16}
    kept = run(result(workload=Workload(device="cuda"), noise_floor=math.nan, **events, **compiled))
    kept.save(tmp_path / "bench.json")
    assert every_field(Run.load(tmp_path / "bench.json")) == every_field(kept)


positive = st.floats(1e-6, 1e3)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sampled_from([1, 2]))
def test_times_and_ratios_are_never_in_opposite_order(data, passes, calls):
    rounds = sum(passes)
    seconds, reference = (
        tuple(data.draw(st.lists(positive, min_size=n, max_size=n))) for n in (rounds, calls * rounds)
    )
    one = result(passes=tuple(passes), seconds=seconds, reference_seconds=reference)
    assert one.median_s == pytest.approx(one.reference_median_s * one.interval.ratio)
    if abs(one.interval.ratio - 1) > 1e-12:
        assert (one.median_s > one.reference_median_s) == (one.interval.ratio > 1)


def test_a_pass_without_a_round_that_counts_does_not_count_where_three_others_do():
    marked, three = tuple(range(5)), 4 * (5,)
    seconds, reference = (2.0,) * 20, (1.0,) * 40
    one = result(passes=three, preempted=marked, seconds=(50.0,) * 5 + seconds[5:], reference_seconds=reference)
    assert one.interval.ratio == pytest.approx(2.0)
    assert list(one.pass_times()) == [1, 2, 3]
    two = result(
        passes=(5, 20), preempted=marked, seconds=(50.0,) * 5 + (2.0,) * 20, reference_seconds=(1.0,) * 50
    )
    assert two.rounds_left_out == 0  # a single pass would be left


@settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(0, ROUNDS - 1), max_size=6), st.integers(0, 99))
def test_preempted_rounds_are_left_out_whatever_their_times(marked, seed):
    rng = np.random.default_rng(seed)
    one = result(
        preempted=tuple(sorted(marked)),
        seconds=tuple(rng.lognormal(size=ROUNDS)),
        reference_seconds=tuple(rng.lognormal(size=2 * ROUNDS)),
    )
    left = [[k for k in range(5 * p, 5 * p + 5) if k not in marked] for p in range(3)]
    enough = ROUNDS - len(marked) >= MIN_ROUNDS
    assert one.rounds_left_out == (len(marked) if enough else 0)
    if enough:
        rounds = [k for part in left for k in part]
        calls = [one.reference_seconds[2 * k + j] for k in rounds for j in (0, 1)]
        cut = result(
            passes=tuple(map(len, left)),
            seconds=tuple(one.seconds[k] for k in rounds),
            reference_seconds=tuple(calls),
        )
        assert (one.interval, one.median_s) == (cut.interval, cut.median_s)
    else:
        assert one.interval == dataclasses.replace(one, preempted=()).interval


def test_the_results_of_a_run_share_their_drift_and_each_race_its_noise_floor():
    found = settled(noisy(np.random.default_rng(0)))
    timed = [Passes.of(np.log(each.seconds), each.passes) for each in found]
    (drifts,) = {each.drifts for each in found}
    assert drifts == Drifts(Drift.fit([each.ratio_passes for each in found]), Drift.fit(timed))
    assert drifts.ratio.degrees > 0
    for each in found:
        calls = np.log(np.reshape(each.reference_seconds, (ROUNDS, -1)))
        noise = np.log(each.seconds) - calls[:, 0] if each.is_reference else calls[:, 1] - calls[:, 0]
        expected = Passes.of(noise, each.passes).estimate(drifts.ratio).interval.noise_floor
        assert each.noise_floor == pytest.approx(expected)


def test_a_single_pass_has_the_interval_of_its_rounds_and_no_drift():
    rng = np.random.default_rng(0)
    seconds, reference = (tuple(rng.lognormal(size=n)) for n in (21, 42))
    one = result(passes=(21,), seconds=seconds, reference_seconds=reference)
    (found, _) = settled([one, untimed()])
    logs = np.log(seconds) - np.log(np.reshape(reference, (21, 2))).mean(axis=1)
    low, high = median_interval(logs)
    assert found.estimate.log == np.median(logs)
    of_rounds = (high - low) / 2 / student(math.inf)
    assert found.estimate.error == pytest.approx(math.hypot(of_rounds, RUN))
    assert math.log(found.interval.high / found.interval.low) == pytest.approx(high - low)


def test_the_summary_counts_what_it_says():
    failed = untimed(implementation="mine")
    said = summary(frame([result(2.0), result(4.5), result(1.0, name="fused"), failed]))
    assert said.splitlines()[:2] == [
        "Against the fused module, cells took 3.00 times as long.",
        "lstm: cells took 3.00 times as long, 2.00 to 4.50 over 2 workloads: slower in 2.",
    ]
    assert "1 got no time, the first mine on lstm L1 B16 T50 H128 1 thr forward (failed: no)." in said
    assert summary(frame([failed])).startswith("Nothing was timed")
