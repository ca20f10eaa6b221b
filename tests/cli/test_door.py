"""`unrolled COMMAND`: every command by one name, from any folder."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import unrolled
from tests.processes import ROOT, python
from unrolled.cli.door import COMMANDS
from unrolled.results.record import read_object
from unrolled.speed.run import Run
from unrolled.speed.settings import LIST_OPTIONS

CLI = Path(unrolled.__file__).parent / "cli"
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
    "5",
    "--phase",
    "forward",
    "--budget",
    "0.01",
]


def door(*arguments, cwd=ROOT):
    return python("-c", "import sys; from unrolled.cli.door import main; sys.exit(main())", *arguments, cwd=cwd)


def test_it_lists_every_command_there_is():
    modules = {path.stem for path in CLI.glob("*.py") if "\nEXAMPLES = " in path.read_text(encoding="utf-8")}
    assert set(COMMANDS) == modules
    for asked in ([], ["--help"], ["help"]):
        done = door(*asked)
        assert done.returncode == 0
        assert all(f"  {name} " in done.stdout for name in COMMANDS)
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_every_door_of_the_checkout_is_a_command():
    doors = {path.stem for path in (ROOT / "diagnostics").glob("[a-z]*.py")}
    assert doors == set(COMMANDS) - {"bench"}  # which is `pytest bench/` there


def test_its_version_is_that_of_the_package():
    assert door("--version").stdout == f"unrolled {version('unrolled')}\n"


@pytest.mark.parametrize(
    ("typed", "answer"), [("gradflo", "did you mean gradflow?"), ("x", "see unrolled --help")]
)
def test_another_word_is_answered_in_a_line(typed, answer):
    done = door(typed)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("unrolled: expected one of bench, ")
    assert answer in line


@pytest.mark.parametrize("name", COMMANDS)
def test_help_comes_without_torch_and_calls_the_command_as_it_was_called(name):
    program = (
        "import sys; from unrolled.cli.door import main\n"
        f"try:\n    status = main(['{name}', '--help'])\nexcept SystemExit as end:\n    status = end.code\n"
        "sys.exit(status or 'torch' in sys.modules)"
    )
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: unrolled {name} ")
    examples = re.findall(r"^  unrolled (\w+)", done.stdout, flags=re.MULTILINE)
    assert examples
    assert set(examples) == {name}


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"bench"}))
def test_a_mistake_is_one_line_of_the_command_as_it_was_called(name):
    done = door(name, "--clop")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"unrolled {name}: ")


def test_help_of_the_grid_has_its_own_options_and_not_those_of_pytest():
    shown = door("bench", "--help").stdout
    flags = set(re.findall(r"^  (--[a-z-]+)", shown, flags=re.MULTILINE))
    own = {
        "--grid",
        "--until-decided",
        "--advise",
        "--why",
        "--budget",
        "--passes",
        "--timeout",
        "--as",
        "--out",
        "--explain",
        "--report",
    }
    assert flags == {option.flag for option in LIST_OPTIONS} | own


CELL = """
from torch import nn, tanh

class Mine(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.of_input, self.of_state = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def forward(self, input, state=None):
        if state is None:
            state = input.new_zeros(*input.shape[:-1], self.hidden_size)
        return tanh(self.of_input(input) + self.of_state(state))
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder of somebody else, with tests and settings of pytest that are not ours."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "mine.py").write_text(CELL)
    (folder / "conftest.py").write_text("raise RuntimeError('of another project')\n")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    return folder


@pytest.mark.slow
def test_a_grid_is_measured_outside_of_the_checkout(elsewhere):
    done = door("bench", *TINY, cwd=elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    run = Run.load(elsewhere / "results" / "bench" / "bench.json")
    assert [each.implementation for each in run.results] == ["fused", "cells", "hoisted"]
    assert "× fused" in done.stdout
    assert "results/bench/bench.csv" in done.stdout


@pytest.mark.slow
def test_so_is_a_cell_that_lies_where_the_command_is_typed(elsewhere):
    mine = ["--cell", "mine:Mine", *TINY[2:], "--implementation", "fused", "--out", "own"]
    done = door("bench", *mine, cwd=elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Run.load(elsewhere / "own" / "bench.json").results[0].workload.cell == "mine:Mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [("--cell=grru", "grru"), ("--budget=0", "--budget"), ("--out=", "--out: expected a path")],
)
def test_a_mistake_of_the_grid_is_a_line(elsewhere, wrong, said):
    done = door("bench", wrong, cwd=elsewhere)
    assert done.returncode == 4
    assert said in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.slow
def test_other_commands_work_elsewhere_too(elsewhere):
    done = door(
        "gradflow",
        *["--cell", "gru", "--hidden", "4", "--length", "5", "--lengths", "5", "--no-plots", "--quiet"],
        cwd=elsewhere,
    )
    assert done.returncode == 0, done.stderr


def test_the_machine_is_told_in_lines_and_as_json():
    lines = dict(line.split(None, 1) for line in door("env").stdout.splitlines())
    facts = json.loads(door("env", "--json").stdout)
    assert set(lines) == set(facts)
    assert lines["torch"] == facts["torch"] == torch.__version__
    assert facts["unrolled"] == version("unrolled")


@pytest.mark.slow
def test_without_matplotlib_a_command_says_what_to_install_and_keeps_the_data(tmp_path):
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from unrolled.cli.door import main; sys.exit(main(sys.argv[1:]))"
    )
    options = [
        "gradflow",
        "--cell",
        "gru",
        "--hidden",
        "4",
        "--length",
        "5",
        "--lengths",
        "5",
        "--quiet",
        "--out",
        "out",
    ]
    done = python("-c", program, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert "pip install 'unrolled[plots]'" in line
    assert read_object(tmp_path / "out" / "gradflow.json")["files"] == [
        "flow.csv",
        "sensitivity.csv",
        "lengths.csv",
    ]
    done = python("-c", program, "plots", "out", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert python("-c", program, "plots", "out", "--no-plots", cwd=tmp_path).returncode == 0
