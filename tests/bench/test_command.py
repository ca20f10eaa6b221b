"""`pytest bench/ --benchmark-only` as its users run it: files, exit statuses, mistakes, pytest-benchmark's options."""

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
TINY = [
    "--cell",
    "gru",
    "--layers",
    "1",
    "--batch",
    "2",
    "--length",
    "3",
    "--hidden",
    "4",
    "--input",
    "3",
    "--budget",
    "0.01",
]

PLUGIN = """
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
"""


def bench(*options, cwd=ROOT, only=True):
    command = [sys.executable, "-m", "pytest", str(ROOT / "bench"), "-p", "no:cacheprovider"]
    command += ["--benchmark-only"] * only + ["--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    return subprocess.run(
        [*command, *options], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def plugin_folder(tmp_path):
    (tmp_path / "my_package.py").write_text(PLUGIN)
    return tmp_path


def test_a_run_prints_tables_and_leaves_results_and_plots(tmp_path):
    out, saved = tmp_path / "out", tmp_path / "saved.json"
    done = bench(*TINY, "--out", str(out), f"--benchmark-json={saved}", "--phase", "forward,training")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gru · forward · cpu float32" in done.stdout
    assert "Against the fused module, cells took" in done.stdout
    table = pd.read_csv(out / "bench.csv")
    assert len(table) == 2 * 3
    assert (table["rounds"] >= 9).all()
    names = {path.name for path in out.iterdir()}
    assert names >= {"bench.json", "bench.csv", "ratio-cpu.png", "ratio-cpu.svg", "time-training-cpu.svg"}
    rounds = json.loads((out / "bench.json").read_text())["results"]
    benchmarks = json.loads(saved.read_text())["benchmarks"]
    assert len(benchmarks) == len(rounds)
    for ours, theirs in zip(rounds, benchmarks, strict=True):  # the very rounds that pytest-benchmark clocked
        assert ours["seconds"] == theirs["stats"]["data"]
        assert theirs["extra_info"]["verdict"]
    assert json.loads(saved.read_text())["machine_info"]["unrolled"]["threads"] >= 1


def test_k_selects_and_measures_the_noise_floor_all_the_same(tmp_path):
    done = bench(*TINY, "--out", str(tmp_path), "-k", "forward-hoisted")
    assert done.returncode == 0
    table = pd.read_csv(tmp_path / "bench.csv")
    assert list(table["implementation"]) == ["hoisted"]
    assert (table["noise_floor"] >= 1.01).all()


def test_benchmark_disable_checks_and_runs_without_results(tmp_path):
    done = bench(*TINY, "--out", str(tmp_path), "--benchmark-disable", only=False)
    assert done.returncode == 0
    assert "6 passed" in done.stdout
    assert not list(tmp_path.iterdir())


def test_saving_and_comparing_show_pytest_benchmark_s_own_table(tmp_path):
    forward = ("--phase", "forward", "--out", "out")
    assert bench(*TINY, *forward, "--threads", "2", "--benchmark-save=one", cwd=tmp_path).returncode == 0
    done = bench(*TINY, *forward, "--threads", "1", "--benchmark-compare", cwd=tmp_path)
    assert done.returncode == 0
    assert "NOW" in done.stdout
    said = " ".join((done.stdout + done.stderr).split())
    assert "Compared with results of another machine or set-up: threads: 2 -> 1" in said


def test_a_wrong_plug_in_gets_no_time_and_fails_and_a_good_one_goes_on(plugin_folder):
    plugins = ("--implementation", "my_package:Wrong", "--implementation", "my_package:good")
    done = bench(*TINY, *plugins, "--phase", "forward", "--out", "out", cwd=plugin_folder)
    assert done.returncode == 1
    assert "WRONG: in float64: largest error" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    table = pd.read_csv(plugin_folder / "out" / "bench.csv").set_index("implementation")
    assert table.loc["my_package:Wrong", "verdict"] == "wrong"
    assert pd.isna(table.loc["my_package:Wrong", "median_s"])
    assert table.loc["my_package:good", "median_s"] > 0


def test_a_plug_in_that_breaks_is_a_marked_cell_with_its_reason(plugin_folder):
    sizes = [
        *TINY,
        "--input",
        "5",
        "--implementation",
        "my_package:Broken",
        "--phase",
        "forward",
        "--out",
        "out",
    ]
    done = bench(*sizes, cwd=plugin_folder)
    assert done.returncode == 1
    assert "FAILED: RuntimeError: no such kernel" in done.stdout
    assert "failed" in set(pd.read_csv(plugin_folder / "out" / "bench.csv")["status"])
    assert (plugin_folder / "out" / "ratio-cpu.svg").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cell", "ltsm"], "cell: expected one of rnn_tanh, rnn_relu, gru, lstm, got 'ltsm'"),
        (["--grid", "huge"], "grid: expected one of quick, full, paper, got 'huge'"),
        (["--batch", "0"], "batch_size: expected an integer of at least 1, got 0"),
        (["--threads", "0"], "--threads: expected an integer of at least 1, got 0"),
        (
            ["--implementation", "fast"],
            "implementation: expected fused, cells, hoisted, compiled or package.module",
        ),
        (
            ["--implementation", "not_there:build"],
            "implementation not_there:build: not_there cannot be imported",
        ),
        (
            ["--implementation", "my_package:PLUGIN"],
            "implementation my_package:PLUGIN: my_package has no 'PLUGIN'",
        ),
        (
            ["--implementation", "my_package:OutputOnly"],
            "expected a module that returns (output, state), got Tensor",
        ),
        (["--device", "cuda:9"], "device: cuda:9 was asked for, but torch"),
        (["--out", "my_package.py/out"], "out: expected a folder that can be written, got my_package.py/out"),
        (["--budget", "-1"], "--budget: expected seconds above 0, got -1.0"),
    ],
)
def test_a_mistake_is_one_line_exit_status_4_and_nothing_touched(plugin_folder, options, message):
    old = plugin_folder / "results" / "bench"
    old.mkdir(parents=True)
    (old / "bench.json").write_text("earlier results")
    done = bench(*options, cwd=plugin_folder)
    assert done.returncode == 4
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert (old / "bench.json").read_text() == "earlier results"
    assert len(list(old.iterdir())) == 1


def test_help_lists_the_options_without_importing_torch():
    check = "import sys, pytest; pytest.main(['bench', '--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "package.module:build" in " ".join(done.stdout.split())


def test_an_interrupted_run_keeps_what_it_has_measured(tmp_path):
    command = [sys.executable, "-m", "pytest", "bench", "--benchmark-only", "--cell", "gru", "--layers", "1"]
    command += ["--budget", "0.3", "--out", str(tmp_path)]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # in a background job it would be ignored
    running = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heard
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "bench.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 2  # pytest's own status for an interruption
    results = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert 1 <= len(results) < 18
    assert "gru · forward" in output
