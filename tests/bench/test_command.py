"""`pytest bench/ --benchmark-only` as its users run it: files, exit statuses, mistakes, pytest-benchmark's options."""

import json
import math
import re
import signal
import subprocess
import sys
import time
from functools import partial

import pandas as pd
import pytest

from tests.processes import ROOT, environment, python
from unrolled.networks.options import PLAIN
from unrolled.speed.settings import DEFAULT_PASSES
from unrolled.speed.statistics import MIN_ROUNDS, RESOLUTION

TINY = [
    "--cell", "gru", "--layers", "1", "--batch", "2", "--length", "3", "--hidden", "4", "--input", "5",
    "--budget", "0.01",
]  # fmt: skip
BENCH = [
    str(ROOT / "bench"),
    "-p",
    "no:cacheprovider",
    "--rootdir",
    str(ROOT),
    "-c",
    str(ROOT / "pyproject.toml"),
]

PLUGIN = """
import sys, time, traceback
import torch
from unrolled.implementations.cells import Cells, build as good

class Wrong(Cells):
    def forward(self, input, hx=None):
        output, state = super().forward(input, hx)
        return output + 1e-3, state

class Broken(Cells):
    def forward(self, input, hx=None):
        if len(input) == 3 and input.shape[1] == 2 and input.dtype == torch.float32 and input.shape[2] == 5:
            raise RuntimeError("no such kernel")
        return super().forward(input, hx)

class OutputOnly(Cells):
    def forward(self, input, hx=None):
        return super().forward(input, hx)[0]

class Tried(Cells):
    # Does something of its own where the width of the input is that of the run, not that of the trial.
    def forward(self, input, hx=None):
        if input.shape[2] == 5:
            self.act()
        return super().forward(input, hx)

class Leaves(Tried):
    def act(self):
        sys.exit(0)

class LeavesAtOnce(Cells):
    def forward(self, input, hx=None):
        sys.exit(0)

class Hangs(Tried):
    def act(self):
        time.sleep(60)

class LeavesInARound(Tried):
    def act(self):
        if "_rows" in {frame.name for frame in traceback.extract_stack()}:
            sys.exit(0)

class HangsInARound(Tried):
    def act(self):
        if "_rows" in {frame.name for frame in traceback.extract_stack()}:
            time.sleep(60)

class Changes(Tried):
    def act(self):
        torch.set_num_threads(3)
        print("one line\\nand another one")
"""


# Runs pytest several times and tells of each; torch, which takes seconds to import, is imported once.
ONE_AFTER_ANOTHER = """
import contextlib, io, json, pathlib, sys
import pytest

told = []
for options in json.loads(sys.argv[1]):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = int(pytest.main(options))
    files = {str(path): path.read_text() for path in pathlib.Path("results").rglob("*") if path.is_file()}
    told.append([status, out.getvalue(), errors.getvalue(), files])
pathlib.Path("told.json").write_text(json.dumps(told))
"""


def bench(*options, cwd=ROOT, only=True):
    return python("-m", "pytest", *BENCH, *["--benchmark-only"] * only, *options, cwd=cwd)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run in a folder of its own, saved in every way there is."""
    folder = tmp_path_factory.mktemp("run")
    done = bench(*TINY, "--out", "out", "--phase", "forward,training", "--threads", "2",
                 "--benchmark-json=saved.json", "--benchmark-save=one", "--benchmark-min-rounds=101", cwd=folder)  # fmt: skip
    return done, folder


@pytest.fixture(scope="module")
def plugged(tmp_path_factory):
    """One run with a plug-in that is wrong, one that breaks at this size, and a good one."""
    folder = tmp_path_factory.mktemp("plugged")
    (folder / "my_package.py").write_text(PLUGIN)
    plugins = [f"--implementation=my_package:{name}" for name in ("Wrong", "Broken", "good")]
    return bench(*TINY, *plugins, "--phase", "forward", "--out", "out", cwd=folder), folder / "out"


def test_a_run_prints_tables_and_leaves_results_and_plots(run):
    done, folder = run
    out, saved = folder / "out", folder / "saved.json"
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gru · forward · cpu float32" in done.stdout
    assert "Against the fused module, cells took" in done.stdout
    table = pd.read_csv(out / "bench.csv")
    assert len(table) == 2 * 3
    assert (table["rounds"] >= 101).all()
    assert (table["passes"] == DEFAULT_PASSES).all()
    assert ((table["ratio"] > 1) == (table["median_s"] > table["reference_median_s"])).all()
    names = {path.name for path in out.iterdir()}
    assert names >= {"bench.json", "bench.csv", "ratio-cpu.png", "ratio-cpu.svg"}
    rounds = json.loads((out / "bench.json").read_text())["results"]
    benchmarks = json.loads(saved.read_text())["benchmarks"]
    assert len(benchmarks) == len(rounds)
    for ours, theirs in zip(rounds, benchmarks, strict=True):
        # The very rounds that were clocked: a float's decimals in JSON are read back as that float.
        assert ours["seconds"] == theirs["stats"]["data"]
        assert theirs["extra_info"]["verdict"]
        sizes = {
            "cell": "gru",
            "num_layers": 1,
            "batch_size": 2,
            "seq_len": 3,
            "input_size": 5,
            "hidden_size": 4,
        }
        rest = {name: ours[name] for name in ("phase", "implementation", "threads")}
        plain = {"bidirectional": False, "device": "cpu", "dtype": "float32", **PLAIN}
        assert theirs["params"] == sizes | rest | plain
    assert json.loads(saved.read_text())["machine_info"]["unrolled"]["threads"] == 2


@pytest.mark.slow
def test_threads_and_dtypes_are_axes_with_tables_against_their_first_value(tmp_path):
    done = bench(*TINY, "--out", "out", "--phase", "forward", "--threads", "1,2", "--dtype", "float32,bfloat16",
                 "--as", "speedup", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(tmp_path / "out" / "bench.csv")
    assert len(table) == 3 * 2 * 2
    assert (table["rounds"] >= MIN_ROUNDS).all()
    assert set(table["threads"]) == {1, 2}
    assert "bfloat16, against float32" in done.stdout
    relative = pd.read_csv(tmp_path / "out" / "relative.csv")
    assert len(relative) == 3 * 2 + 3 * 2  # each implementation, on the one axis at both values of the other
    assert (tmp_path / "out" / "speedup-cpu-float32.png").exists()


@pytest.mark.slow
def test_k_selects_and_measures_the_noise_floor_all_the_same(tmp_path):
    done = bench(*TINY, "--out", str(tmp_path), "-k", "forward-hoisted")
    assert done.returncode == 0
    table = pd.read_csv(tmp_path / "bench.csv")
    assert list(table["implementation"]) == ["hoisted"]
    assert (table["noise_floor"] >= RESOLUTION).all()  # which is the least of all floors


@pytest.mark.slow
def test_benchmark_disable_checks_and_runs_without_results(tmp_path):
    done = bench(*TINY, "--out", str(tmp_path), "--benchmark-disable", only=False)
    assert done.returncode == 0
    assert "6 passed" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_saving_and_comparing_show_pytest_benchmark_s_own_table(run):
    _, folder = run
    done = bench(
        *TINY, "--phase", "forward", "--out", "again", "--threads", "1", "--benchmark-compare", cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOW" in done.stdout
    said = " ".join((done.stdout + done.stderr).split())
    assert "Compared with results of another machine or set-up: threads: 2 -> 1" in said


def test_a_wrong_plug_in_gets_no_time_and_fails_and_a_good_one_goes_on(plugged):
    done, out = plugged
    assert done.returncode == 1
    assert "WRONG: in float64: " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    table = pd.read_csv(out / "bench.csv").set_index("implementation")
    assert table.loc["my_package:Wrong", "verdict"] == "wrong"
    assert pd.isna(table.loc["my_package:Wrong", "median_s"])
    assert table.loc["my_package:good", "median_s"] > 0


def test_a_plug_in_that_breaks_is_a_marked_cell_with_its_reason(plugged):
    done, out = plugged
    assert "FAILED: RuntimeError: no such kernel" in done.stdout
    table = pd.read_csv(out / "bench.csv").set_index("implementation")
    assert table.loc["my_package:Broken", "status"] == "failed"
    assert pd.isna(table.loc["my_package:Broken", "median_s"])
    assert (out / "ratio-cpu.svg").exists()


@pytest.fixture(scope="module")
def misbehaved(tmp_path_factory):
    """One run, with standard output as it comes, of plug-ins that leave, hang, print and change torch's settings."""
    folder = tmp_path_factory.mktemp("misbehaved")
    (folder / "my_package.py").write_text(PLUGIN)
    names = ("Leaves", "Hangs", "LeavesInARound", "HangsInARound", "Changes", "good")
    plugins = [f"--implementation=my_package:{name}" for name in names]
    done = bench(*TINY, *plugins, "--phase", "forward", "--out", "out", "--threads", "1", "--timeout", "3", "-s",
                 cwd=folder)  # fmt: skip
    return done, pd.read_csv(folder / "out" / "bench.csv").set_index("implementation")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("my_package:Leaves", "failed"),
        ("my_package:LeavesInARound", "failed"),
        ("my_package:Hangs", "timed out"),
        ("my_package:HangsInARound", "timed out"),
        ("my_package:Changes", "ok"),
        ("my_package:good", "ok"),
        ("fused", "ok"),
    ],
)
def test_a_plug_in_that_leaves_or_hangs_is_a_marked_cell(misbehaved, name, status):
    done, table = misbehaved
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert table.loc[name, "status"] == status
    assert pd.isna(table.loc[name, "median_s"]) == (status != "ok")
    assert status == "ok" or f"{status.upper()}: {table.loc[name, 'reason']}" in done.stdout


@pytest.mark.slow
def test_what_a_plug_in_prints_and_changes_is_a_line_at_the_end_and_tears_no_table(misbehaved):
    done, table = misbehaved
    assert (table["threads"] == 1).all()
    assert "and another one" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("my_package:Changes: ")]
    assert lines[0] == "my_package:Changes: changed threads 1 -> 3; put back"
    assert lines[1].endswith(" lines: one line")
    assert len(lines) == 2


MISTAKES = [
    (["--cell", "ltsm"], "cell: .*got 'ltsm'"),
    (["--grid", "huge"], "grid: .*got 'huge'"),
    (["--batch", "0"], "batch_size: .*got 0"),
    (["--threads", "0"], "--threads: .*got 0"),
    (["--implementation", "fast"], "implementation: .*got 'fast'"),
    (["--implementation", "not_there:build"], "implementation not_there:build: .*not_there"),
    (["--implementation", "my_package:PLUGIN"], "implementation my_package:PLUGIN: .*'PLUGIN'"),
    (["--implementation", "my_package:OutputOnly"], "my_package:OutputOnly: .*got Tensor"),
    (["--device", "cuda:9"], "device: .*cuda:9"),
    (["--out", "my_package.py/out"], "out: .*got my_package\\.py/out"),
    (["--budget", "-1"], "--budget: .*got -1\\.0"),
    (["--timeout", "0"], "--timeout: .*got 0\\.0"),
    (["--passes", "0"], "--passes: .*got 0"),
    (["--threads", "1,two"], "--threads: .*got 'two'"),
    (["--until-decided", "-1"], "--until-decided: .*got -1\\.0"),
    (["--benchmark-min-time=1"], "--benchmark-min-time: .*got 1.*--budget"),
    (["--benchmark-warmup=on"], "--benchmark-warmup: .*got True"),
    (["--benchmark-warmup-iterations=5"], "--benchmark-warmup-iterations: .*got 5"),
    (["--benchmark-calibration-precision=5"], "--benchmark-calibration-precision: .*got 5"),
    (["--benchmark-max-time=2", "--budget", "1"], "--benchmark-max-time: .*--budget"),
    (["--timeout", "inf"], "--timeout: .*got inf"),
    (["--threads", "100000000000"], "--threads: .*got 100000000000"),
    (["--layers", "1000000000"], "num_layers: .*got 1000000000"),
    (["--batch", "1" + 30 * "0"], "batch_size: .*got 1000"),
    (["--implementation", "my_package:LeavesAtOnce"], "my_package:LeavesAtOnce: .*SystemExit"),
]


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory):
    """What came of each of them, one after another in one process: status, output, errors, files left."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "my_package.py").write_text(PLUGIN)
    (folder / "results" / "bench").mkdir(parents=True)
    (folder / "results" / "bench" / "bench.json").write_text("earlier results")
    asked = [[*BENCH, "--benchmark-only", *options] for options, _ in MISTAKES]
    done = python("-c", ONE_AFTER_ANOTHER, json.dumps(asked), cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "told.json").read_text())


@pytest.mark.parametrize("k", range(len(MISTAKES)), ids=[" ".join(options) for options, _ in MISTAKES])
def test_a_mistake_is_one_line_exit_status_4_and_nothing_touched(mistakes, k):
    status, out, errors, files = mistakes[k]
    assert status == 4
    (line,) = [line for line in errors.splitlines() if line.startswith("ERROR")]
    assert re.search(MISTAKES[k][1], line)
    assert "Traceback" not in out + errors
    assert files == {"results/bench/bench.json": "earlier results"}


@pytest.mark.slow
def test_a_mistake_in_a_process_of_its_own_is_no_different(tmp_path):
    done = bench("--grid", "huge", cwd=tmp_path)
    assert done.returncode == 4
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    assert "grid: " in line
    assert "'huge'" in line
    assert {path.name for path in tmp_path.iterdir()} <= {
        ".benchmarks"
    }  # an empty folder of pytest-benchmark's


def test_help_lists_the_options_without_importing_torch():
    check = "import sys, pytest; pytest.main(['bench', '--help']); sys.exit('torch' in sys.modules)"
    done = python("-c", check)
    assert done.returncode == 0
    assert "package.module:build" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "name", ["SIGTERM", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGINT", "SIGHUP"))]
)
def test_an_interrupted_run_keeps_what_it_has_measured(tmp_path, name):
    command = [sys.executable, "-m", "pytest", *BENCH, "--benchmark-only", "--cell", "gru", "--layers", "1"]
    command += ["--budget", "0.3", "--out", str(tmp_path)]
    heard = partial(
        signal.signal, getattr(signal, name), signal.SIG_DFL
    )  # in a background job it would be ignored
    running = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        preexec_fn=heard,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "bench.partial.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(getattr(signal, name))
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 128 + getattr(signal, name)
    results = json.loads((tmp_path / "bench.partial.json").read_text())["results"]
    assert 1 <= len(results) < 18
    assert ("gru · forward" in output) == (name == "SIGINT")  # whose tables pytest shows
    assert name == "SIGINT" or f"interrupted by {name}; what was measured is in {tmp_path}" in output
    assert {path.name for path in tmp_path.iterdir()} == {"bench.partial.json"}


@pytest.mark.slow
def test_a_cell_of_ones_own_is_raced_against_its_own_loop(tmp_path):
    cells = ["--cell", "examples.cells.min_gru:MinGRU", "--phase", "forward", *TINY]
    done = bench(*cells, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout
    frame = pd.read_csv(tmp_path / "out" / "bench.csv").set_index("cell")
    assert list(frame.loc["gru", "implementation"]) == ["fused", "cells", "hoisted"]
    assert frame.loc["MinGRU", "implementation"] == frame.loc["MinGRU", "reference"] == "own loop"
    assert math.isnan(frame.loc["MinGRU", "gflops"])
    assert "MinGRU: cells and hoisted" in done.stdout
    assert "only the cells' own loops" in done.stdout.lower()


def test_a_cell_that_is_wrong_is_refused_in_a_line(tmp_path):
    (tmp_path / "theirs.py").write_text("def Bad(input_size, hidden_size): return 3\n")
    done = bench("--cell", "theirs:Bad", cwd=tmp_path)
    assert done.returncode == 4  # pytest's own for wrong usage
    assert "Traceback" not in done.stdout + done.stderr
    assert any("Bad" in line and "nn.Module" in line for line in done.stderr.splitlines())
