"""`python -m diagnostics.sweep` as it is used: what it prints, what it writes, what it refuses."""

import pytest

from diagnostics import sweep
from tests.diagnostics.conftest import status_of
from tests.processes import python
from tests.sweep.jobs import FOLDER, computed
from unrolled.sweep.record import Sweep

COUNTED = "tests.sweep.jobs:COUNTED"
FILES = {"counted.sqlite", "sweep.json", "sweep.csv", "sweep_mean.csv", "sweep.png", "sweep.svg"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where each computation leaves a file."""
    made = tmp_path / "computed"
    made.mkdir()
    monkeypatch.setenv(FOLDER, str(made))
    return made


def test_one_command_measures_draws_and_says_and_the_next_goes_on(folder, tmp_path, capsys):
    out = tmp_path / "out"
    words = [COUNTED, "--over", "x=0:4:5", "--set", "tag=a", "--workers", "1", "--out", str(out)]
    assert sweep.main([*words, "--seeds", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "The value crosses 0 at x 2.95." in printed.out
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == FILES
    found = Sweep.load(out / "sweep.json")
    assert (found.job, found.grid.seeds, found.grid.base["tag"], found.is_whole) == (COUNTED, 2, "a", True)
    assert len(computed(folder)) == 10
    assert (
        sweep.main([*words, "--seeds", "2", "--no-plots", "--explain"]) == 0
    )  # no worker is started for nothing
    assert "Means over the seeds" in capsys.readouterr().out
    merged = ["--merge", str(out / "counted.sqlite"), "--store", str(tmp_path / "other.sqlite"), "--no-plots"]
    assert sweep.main([*words, "--seeds", "2", *merged]) == 0
    assert len(computed(folder)) == 10
    assert Sweep.load(out / "sweep.json").values == found.values


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["bench", "--hidden", "8,16"], "job: expected one of gradflow, .*, got bench: timings never run side by side"),
        (["spectra"], "job: expected one of gradflow, spectrum, .*or package.module:NAME of a job of your own, got 'spectra'"),
        (["spectrum"], "--over: expected at least one axis, got none"),
        (["spectrum", "--over", "gian=1,2"], "spectrum: expected a setting of cell, .*, got 'gian'"),
        (["spectrum", "--over", "gain=0.5:2"], "axis gain: expected START:STOP:COUNT"),
        (["spectrum", "--over", "gain=0,1"], "gain: expected a number above 0, got 0"),
        (["spectrum", "--over", "gain=1,2", "--set", "gain=1"], "axes: expected gain as an axis or as one setting"),
        (["spectrum", "--over", "gain=1,2", "--set", "hidden"], "--set: expected NAME=VALUE, got 'hidden'"),
        (["spectrum", "--over", "gain=1,2", "--set", "k=1", "--set", "k=2"], "--set: expected each setting once, got k"),
        (["spectrum", "--over", "gain=1,2", "--workers", "0"], "--workers: expected an integer of at least 1, got 0"),
        (["spectrum", "--over", "gain=1,2", "--workers", "2", "--scheduler", "tcp://a:1"], "--workers: expected none beside"),
        (["spectrum", "--over", "gain=1,2", "--merge", "none.sqlite"], "store: expected a store to merge, got none.sqlite"),
        (["spectrum", "--over", "gain=1,2", "--store", __file__], "store: expected a store of a sweep, got something else"),
        (["spectrum", "--over", "hidden=8,9999999"], "sizes: expected a network that fits"),
        (["gradflow", "--over", "noise=0,1"], "gradflow: expected a setting of cell, .*, got 'noise'"),
        (["tests.sweep.jobs:NO_JOB", "--over", "x=1,2"], "job tests.sweep.jobs:NO_JOB: expected a Job, got str"),
        ([COUNTED, "--over", "x=1,-2"], "x: expected at least 0, got -2; try 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_one_line(wrong, words, tmp_path, monkeypatch, capsys):
    import re

    monkeypatch.chdir(tmp_path)
    assert status_of(sweep, [*wrong, "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert re.search(words, line)


def test_help_imports_nothing_heavy_and_lists_the_settings_of_each_job():
    program = (
        "import sys\nfrom diagnostics import sweep\n"
        "try:\n    sweep.main(['--help'])\nexcept SystemExit as error:\n    assert error.code == 0\n"
        "heavy = {'torch', 'pandas', 'distributed', 'dask', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = python("-c", program)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gain=1 forget_bias=none noise=0 length=501" in " ".join(done.stdout.split())


def test_without_dask_one_line_says_what_to_install(monkeypatch, tmp_path, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    assert status_of(sweep, ["spectrum", "--over", "gain=1,2", "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("pip install 'unrolled[sweep]'")
    assert not (tmp_path / "out").exists()
