"""A result keeps raw rounds, derives every figure, survives a trip to disk, and damaged files are refused."""

import json
import math
import re

import pytest

from unrolled import Environment, Workload
from unrolled.errors import ResultFileError
from unrolled.render.speed_summary import summary
from unrolled.speed.compare import compare_runs
from unrolled.speed.result import Result, frame
from unrolled.speed.run import Run, RunFiles, load_run

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
        "spent_s": {"check": 0.5},
    }
    return Result(**{**values, **fields})


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


def test_results_survive_a_trip_to_disk_with_their_environment(tmp_path):
    files = RunFiles(tmp_path, MACHINE, "2026-01-01T00:00:00+00:00")
    kept = [result(2.0), result(1.0, name="fused"), result(compile_s=3.0, uncompiled_s=0.1)]
    for one in kept:
        files.add(one)
    files.note(accounting={"total_s": 1.0})
    loaded = load_run(tmp_path)
    # A float's decimals are read back as that float; as text, NaN is equal to NaN.
    assert repr(loaded) == repr(Run(MACHINE, tuple(kept)))
    assert loaded.frame().equals(frame(kept))
    content = json.loads((tmp_path / "bench.json").read_text())
    assert (content["format"], content["version"]) == ("unrolled.bench", 1)
    assert content["accounting"] == {"total_s": 1.0}


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


@pytest.mark.parametrize("field", ["noise_floor", "equivalence_error"])
def test_nan_is_written_as_nothing_and_comes_back_as_nan(tmp_path, field):
    import pandas as pd

    RunFiles(tmp_path, MACHINE, "now").add(result(**{field: math.nan}))
    (record,) = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert record[field] is None
    (loaded,) = load_run(tmp_path).results
    assert math.isnan(getattr(loaded, field))
    assert pd.read_csv(tmp_path / "bench.csv", keep_default_na=False)[field].tolist() == [""]


def test_the_csv_is_tidy_and_has_the_promised_columns(tmp_path):
    import pandas as pd

    files = RunFiles(tmp_path, MACHINE, "now")
    files.add(result())
    files.add(Result(workload=Workload(), phase="forward", implementation="x", threads=1, status="failed"))
    table = pd.read_csv(tmp_path / "bench.csv")
    promised = (
        "cell num_layers hidden_size batch_size seq_len phase implementation device dtype threads median_s ratio "
        "ratio_low ratio_high verdict tokens_per_s gflops saved_bytes"
    )
    assert set(promised.split()) <= set(table.columns)
    assert list(table["verdict"]) == ["slower", "failed"]
    assert math.isnan(table["median_s"][1])


def test_an_earlier_run_is_kept_as_previous_and_an_unfinished_one_is_whole(tmp_path):
    first = RunFiles(tmp_path, MACHINE, "first")
    first.add(result(3.0))
    second = RunFiles(tmp_path, MACHINE, "second")
    assert load_run(tmp_path).results[0].interval.ratio == pytest.approx(
        3.0
    )  # untouched until there is a result
    second.add(result(2.0))
    second.add(result(2.5))
    assert [r.interval.ratio for r in load_run(tmp_path).results] == pytest.approx([2.0, 2.5])
    assert load_run(tmp_path / "bench.previous.json").results[0].interval.ratio == pytest.approx(3.0)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def damage(text, change):
    content = json.loads(text)
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "expected JSON"),
        (lambda text: "[]", "JSON object.*got list"),
        (
            lambda text: damage(text, lambda c: c.update(version=99)),
            r"version .*unrolled\.bench.*got 99",
        ),
        (lambda text: damage(text, lambda c: c.pop("results")), "results: .*got NoneType"),
        (lambda text: damage(text, lambda c: c.pop("environment")), "is damaged"),
        (lambda text: damage(text, lambda c: c["results"][0].pop("seconds")), "is damaged"),
        (lambda text: damage(text, lambda c: c["results"][0]["workload"].update(cell="x")), "is damaged"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path, change, message):
    RunFiles(tmp_path, MACHINE, "now").add(result())
    path = tmp_path / "bench.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ResultFileError, match=message) as raised:
        load_run(tmp_path)
    assert str(path) in str(raised.value)


def test_a_folder_without_results_says_so(tmp_path):
    with pytest.raises(ResultFileError, match=f"results: {re.escape(str(tmp_path))}"):
        load_run(tmp_path)


def test_comparing_runs_finds_what_moved_what_turned_and_what_machine():
    import dataclasses

    before = Run(MACHINE, (result(2.0), result(1.0, name="fused"), result(0.5, name="hoisted")))
    other = dataclasses.replace(MACHINE, threads=1, load_average=9.0, git_commit="abc")
    after = Run(other, (result(2.2), result(1.0, name="fused"), result(2.0, name="hoisted")))
    found = compare_runs(before, after)
    assert found.differences == {"threads": (2, 1)}
    assert sorted(found.frame["change"]) == pytest.approx([0.0, 0.1, 3.0])
    assert found.median_change == pytest.approx((0.1 + 3.0) / 2)  # fused against itself does not count
    assert list(found.turned["implementation"]) == ["hoisted"]
    with pytest.raises(ResultFileError, match="benchmarks in common"):
        compare_runs(before, Run(MACHINE, (result(workload=Workload()),)))


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
