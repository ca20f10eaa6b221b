"""The fixture `race` in somebody's own folder of tests, beside other plugins and without."""

import json

import pytest

from tests.processes import python
from unrolled.speed.run import Run

MINE = """
from unrolled.implementations.cells import Cells, build

class Wrong(Cells):
    def forward(self, input, hx=None):
        output, state = super().forward(input, hx)
        return output + 1e-3, state

class Prints(Cells):
    def forward(self, input, hx=None):
        print("psst")
        return super().forward(input, hx)
"""
TESTS = """
import pytest
from mine import Prints, Wrong, build
from unrolled import Workload

SMALL = Workload(cell="gru", batch_size=2, seq_len=5, hidden_size=4, input_size=3)
FAST = {"budget": 0.02, "passes": 2}

def test_mine(race):
    result = race(SMALL, "training", build, **FAST)
    assert result.verdict in ("slower", "unclear", "ok")

@pytest.mark.parametrize("batch_size", [1, 3])
def test_sizes(race, batch_size):
    race(SMALL.replace(batch_size=batch_size), "forward", "mine:build", **FAST)
    race(SMALL.replace(batch_size=batch_size), "training", "hoisted", **FAST)

def test_wrong(race):
    race(SMALL, "forward", Wrong)

def test_prints(race):
    race(SMALL, "forward", Prints, **FAST)

def test_other():
    pass
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "test_mine.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\naddopts = --strict-markers\n")
    return tmp_path


def run(folder, *options):
    return python("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *options, cwd=folder)


def test_races_are_measured_shown_saved_and_handed_to_pytest_benchmark(folder):
    done = run(folder, "--unrolled-out", "out", "--benchmark-json", "saved.json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "WRONG: in float64: error " in done.stdout
    assert "1 failed, 5 passed" in done.stdout
    assert "Prints: printed" in done.stdout
    assert "× fused" in done.stdout
    kept = Run.load(folder / "out" / "bench.json")
    assert [(each.implementation, each.phase, each.status) for each in kept.results] == [
        ("build", "training", "ok"),
        ("mine:build", "forward", "ok"),
        ("hoisted", "training", "ok"),
        ("mine:build", "forward", "ok"),
        ("hoisted", "training", "ok"),
        ("Wrong", "forward", "wrong"),
        ("Prints", "forward", "ok"),
    ]
    assert (folder / "out" / "bench.csv").exists()
    saved = json.loads((folder / "saved.json").read_text())
    first = saved["benchmarks"][0]
    assert first["name"] == "test_mine"
    assert first["stats"]["data"] == list(kept.results[0].seconds)
    assert first["params"]["cell"] == "gru"
    assert first["extra_info"]["verdict"] == kept.results[0].verdict
    assert saved["machine_info"]["unrolled"]["torch"] == kept.environment.torch
    # Of a test with two races pytest-benchmark shows the first one.
    assert [each["params"]["implementation"] for each in saved["benchmarks"]] == [
        "build",
        "mine:build",
        "mine:build",
        "Prints",
    ]


@pytest.mark.slow
def test_options_stand_for_what_a_test_leaves_open(folder):
    (folder / "test_mine.py").write_text(
        "from unrolled import Workload\n"
        "def test(race):\n"
        "    one = race(Workload(cell='gru', seq_len=2, hidden_size=3), 'forward', 'cells')\n"
        "    assert len(one.passes) == 3\n"
        "    assert len(race(one.workload, 'forward', 'cells', passes=4).passes) == 4\n"
    )
    done = run(folder, "--unrolled-passes", "3", "--unrolled-budget", "0.01", "--unrolled-as", "speedup")
    assert done.returncode == 0, done.stdout
    assert "speedup" in done.stdout
    assert {path.name for path in folder.iterdir()} - {".benchmarks"} == {
        "mine.py",
        "pytest.ini",
        "test_mine.py",
    }


@pytest.mark.slow
def test_without_pytest_benchmark_races_are_measured_all_the_same(folder):
    done = run(folder, "-p", "no:benchmark", "--unrolled-out", "out")
    assert "1 failed, 5 passed" in done.stdout, done.stdout
    assert all(each.timed for each in Run.load(folder / "out" / "bench.json").results if each.status == "ok")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-n", "2"], "since pytest-xdist runs tests beside each other; -n 0 times them"),
        (["--benchmark-disable"], "since pytest-benchmark is disabled"),
    ],
)
def test_what_is_not_timed_is_checked_and_one_line_says_so(folder, options, reason):
    done = run(folder, *options)
    assert "1 failed, 5 passed" in done.stdout, done.stdout
    assert "WRONG: in float64" in done.stdout
    assert done.stdout.count(f"races were checked and not timed, {reason}") == 1
    assert "× fused" not in done.stdout


@pytest.mark.slow
def test_shuffled_they_are_the_same_races(folder):
    done = run(folder, "-p", "randomly", "-k", "sizes", "--unrolled-out", "out")
    assert "2 passed" in done.stdout, done.stdout
    assert len(Run.load(folder / "out" / "bench.json").results) == 4


@pytest.mark.slow
def test_pytest_codspeed_takes_the_place_of_pytest_benchmark_and_one_line_says_what_that_means(folder):
    (folder / "conftest.py").write_text(  # as it has
        "def pytest_addoption(parser):\n    parser.addoption('--codspeed', action='store_true')\n"
    )
    done = run(folder, "--codspeed", "-k", "sizes")
    assert "2 passed" in done.stdout, done.stdout
    assert done.stdout.count("pytest-codspeed measures no race: they time themselves") == 1


@pytest.mark.slow
def test_a_grid_needs_pytest_benchmark_and_measures_what_is_repeated_once(folder):
    grid = ["-p", "unrolled.pytest_plugin.grid", "--cell", "gru", "--layers", "1", "--batch", "2", "--length", "3", "--hidden", "4", "--phase", "forward"]  # fmt: skip
    (folder / "test_mine.py").write_text(
        "import pytest\n@pytest.mark.unrolled_grid\n@pytest.mark.parametrize('again', [1, 2])\n"
        "def test(case, again, race):\n    race(case)\n"
    )
    done = run(folder, *grid, "--budget", "0.01")
    assert "6 passed" in done.stdout, done.stdout
    assert done.stdout.count("each benchmark is measured once, however often it is repeated") == 1
    assert len(Run.load(folder / "results" / "bench" / "bench.json").results) == 3
    done = run(folder, *grid, "-p", "no:benchmark")
    assert done.returncode == 4
    assert "expected pytest-benchmark, which is switched off" in done.stderr


def test_a_run_without_races_imports_nothing(folder):
    (folder / "test_mine.py").write_text(
        "import sys\ndef test():\n    assert not {'torch', 'numpy', 'pandas'} & set(sys.modules)\n"
    )
    done = run(folder, "-p", "no:hypothesispytest")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        "1, 'forward', 'cells'",
        "W, 'backward', 'cells'",
        "W, 'forward', 'cels'",
        "W, 'forward', 'cells', budget=-1",
    ],
)
def test_a_mistake_is_one_line(folder, wrong):
    (folder / "test_mine.py").write_text(
        f"from unrolled import Workload\nW = Workload(cell='gru')\ndef test(race):\n    race({wrong})\n"
    )
    done = run(folder, "--tb=line")
    assert done.returncode == 1
    assert "expected " in done.stdout
