"""A result keeps raw rounds, derives every figure, survives a trip to disk, and damaged files are refused."""

import dataclasses
import json
import math
import re

import pytest

from tests.processes import ROOT
from unrolled import Environment, Workload
from unrolled.errors import ResultFileError
from unrolled.render import bench
from unrolled.render.files import write_frames
from unrolled.render.speed_summary import summary
from unrolled.speed.compare import compare_runs
from unrolled.speed.result import Result, frame
from unrolled.speed.run import Run, accounting

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


def result(ratio=2.0, name="cells", **fields):
    reference = [0.010 + 0.0001 * k for k in range(11)]
    values = {
        "workload": Workload(hidden_size=(30, 20), seq_len=10, batch_size=4),
        "phase": "training",
        "implementation": name,
        "threads": 2,
        "seconds": tuple(ratio * s for s in reference),
        "reference_seconds": tuple(reference),
        "reference_first": tuple(k % 2 == 0 for k in range(11)),
        "noise_floor": 1.05,
        "saved_bytes": 1000,
        "spent_s": {"check": 0.5, "warm_up": 0.25, "memory": 0.125},
    }
    return Result(**{**values, **fields})


def run(*results):
    return Run(MACHINE, "2026-01-01T00:00:00+00:00", results, accounting(results, 8.0, 0.5, 0.0))


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


def test_fused_against_itself_can_be_called_different():
    assert result(1.2, name="fused", noise_floor=1.2).verdict == "slower"
    assert result(1.0, name="fused", noise_floor=1.01).verdict == "same"


def test_compiling_pays_after_its_cost_over_its_gain():
    quarter = {"seconds": (0.25,) * 11, "compile_s": 2.5}  # sums and quotients of these are exact
    assert result(**quarter, uncompiled_s=0.5).pays_after_calls == 10
    assert result(**quarter, uncompiled_s=0.375).pays_after_calls == 20
    assert result(**quarter, uncompiled_s=0.25).pays_after_calls == math.inf
    assert math.isnan(result(1.0).pays_after_calls)


def test_a_run_survives_a_trip_to_disk_with_its_environment(tmp_path):
    kept = run(result(2.0), result(1.0, name="fused"), result(compile_s=3.0, uncompiled_s=0.1))
    kept.save(tmp_path / "bench.json")
    loaded = Run.load(tmp_path / "bench.json")
    # A float's decimals are read back as that float; as text, NaN is equal to NaN.
    assert repr(loaded) == repr(kept)
    assert loaded.frame().equals(frame(kept.results))


def test_a_file_of_version_1_is_read_with_every_figure_of_its_table(tmp_path):
    import pandas as pd

    folder = ROOT / "docs" / "results" / "cpu"
    loaded = Run.load(folder / "bench.json")
    table = pd.read_csv(write_frames(bench.frames(loaded), tmp_path)[0])
    before = pd.read_csv(folder / "bench.csv")
    assert table[list(before)].equals(before)  # the same computation from the same decimals
    assert loaded.accounting["total_s"] == 145.2293


def test_null_was_nan_in_version_1_and_an_interrupted_run_had_no_accounting(tmp_path):
    run(result()).save(tmp_path / "bench.json")
    content = json.loads((tmp_path / "bench.json").read_text()) | {"version": 1}
    del content["accounting"]
    content["results"][0] |= {"noise_floor": None, "equivalence_error": None}
    (tmp_path / "bench.json").write_text(json.dumps(content))
    loaded = Run.load(tmp_path / "bench.json")
    assert math.isnan(loaded.results[0].noise_floor)
    assert math.isnan(loaded.results[0].equivalence_error)
    assert loaded.accounting == {}


def test_without_a_time_every_figure_is_nan_and_none_is_0():
    failed = Result(workload=Workload(), phase="forward", implementation="x", threads=1, status="failed").row()
    figures = [
        "median_s",
        "reference_median_s",
        "event_median_s",
        "ratio",
        "ratio_low",
        "ratio_high",
        "noise_floor",
    ]
    figures += ["tokens_per_s", "gflops", "pays_after_calls", "equivalence_error"]
    assert [name for name in figures if not math.isnan(failed[name])] == []
    assert math.isnan(result().event_median_s)  # on the CPU there are no events


def test_the_csv_is_tidy_and_has_the_promised_columns(tmp_path):
    import pandas as pd

    failed = Result(workload=Workload(), phase="forward", implementation="x", threads=1, status="failed")
    (path,) = write_frames(bench.frames(run(result(), failed)), tmp_path)
    table = pd.read_csv(path)
    promised = (
        "cell num_layers hidden_size batch_size seq_len phase implementation device dtype threads median_s ratio "
        "ratio_low ratio_high verdict tokens_per_s gflops saved_bytes"
    )
    assert set(promised.split()) <= set(table.columns)
    assert list(table["verdict"]) == ["slower", "failed"]
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(text["median_s"]) == ["0.021", "nan"]
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
        ({"seconds": (0.01,) * 10}, "pairs"),
        ({"seconds": (-0.01,) * 11}, "seconds"),
        ({"seconds": (0.5,) * 11, "reference_seconds": (1e12,) * 11}, "reference_seconds"),
        ({"reference_first": (True,) * 12}, "pairs"),
        ({"event_seconds": (0.01,) * 11}, "events"),
        ({"event_seconds": (0.01,) * 11, "reference_event_seconds": (0.01,) * 11}, "event for each"),
        ({"noise_floor": 0.5}, "noise floor"),
        ({"noise_floor": math.inf}, "noise floor"),
        ({"equivalence_error": -1e-9}, "error"),
        ({"equivalence_error": math.inf}, "error"),
        ({"saved_bytes": -1}, "saved_bytes"),
        ({"compile_s": 1.0}, "compiling"),
        ({"saved_bytes": None}, "bytes"),
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
    ],
)
def test_a_run_that_never_was_is_refused_when_it_is_read(tmp_path, changes, said):
    dataclasses.replace(run(result()), **changes).save(tmp_path / "bench.json")
    with pytest.raises(ResultFileError, match=re.escape(said)):
        Run.load(tmp_path / "bench.json")


def test_events_and_the_cost_of_compiling_are_read_where_there_were_some(tmp_path):
    events = {"event_seconds": (0.01,) * 11, "reference_event_seconds": (0.0,) * 11}
    compiled = {"peak_bytes": 5, "compile_s": -0.1, "uncompiled_s": 0.2, "equivalence_error": 1e-16}
    kept = run(result(workload=Workload(device="cuda"), **events, **compiled))
    kept.save(tmp_path / "bench.json")
    assert repr(Run.load(tmp_path / "bench.json")) == repr(kept)


def test_comparing_runs_finds_what_moved_what_turned_and_what_machine():
    before = run(result(2.0), result(1.0, name="fused"), result(0.5, name="hoisted"))
    other = dataclasses.replace(MACHINE, threads=1, load_average=9.0, git_commit="abc")
    after = run(result(2.2), result(1.0, name="fused"), result(2.0, name="hoisted"))
    after = dataclasses.replace(after, environment=other)
    found = compare_runs(before, after)
    assert found.differences == {"threads": (2, 1)}
    assert sorted(found.frame["change"]) == pytest.approx([0.0, 0.1, 3.0])
    assert found.median_change == pytest.approx((0.1 + 3.0) / 2)  # fused against itself does not count
    assert list(found.turned["implementation"]) == ["hoisted"]
    with pytest.raises(ResultFileError, match="benchmarks in common"):
        compare_runs(before, run(result(workload=Workload())))


def test_the_summary_counts_what_it_says():
    failed = Result(
        workload=Workload(), phase="forward", implementation="mine", threads=1, status="failed", reason="no"
    )
    said = summary(frame([result(2.0), result(4.5), result(1.0, name="fused"), failed]))
    assert (
        "cells took 3.00 times as long (geometric mean over 2 workloads, 2.00 to 4.50; slower in 2, faster in 0)"
        in said
    )
    assert "1 got no time, the first mine on lstm L1 B16 forward (failed: no)." in said
    assert summary(frame([failed])) == "Nothing was timed."
