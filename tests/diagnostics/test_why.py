"""`python -m diagnostics.why` as it is used: what it prints, what it writes, what it refuses."""

import pytest

from diagnostics import why
from tests.diagnostics.conftest import status_of
from unrolled.speed.why.record import Why

SMALL = ["--hidden", "8", "--input", "4", "--length", "5", "--batch", "2", "--budget", "0.2", "--threads", "1"]
FILES = {"why.json", "rungs.csv", "floors.csv", "operations.csv", "waterfall.png", "waterfall.svg"}


def test_all_of_it_in_one_command(tmp_path, capsys):
    assert why.main([*SMALL, "--cell", "rnn_tanh", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    words = " ".join(printed.out.split())
    for said in (
        "At batch 2, ",
        "the loop in C++",
        "dispatch of cells",
        "times as long as fused",
        "--explain says",
    ):
        assert said in words
    assert printed.err == ""
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} >= FILES
    found = Why.load(tmp_path / "why.json")
    assert (found.workload.cell, found.phase, found.results[0].threads) == ("rnn_tanh", "training", 1)


@pytest.mark.parametrize("phase", ["forward", "training"])
def test_both_phases_of_an_lstm_both_ways(phase, tmp_path, capsys):
    options = ["--layers", "2", "--bidirectional", "--phase", phase, "--no-sizes", "--no-plots", "--explain"]
    assert why.main([*SMALL, *options, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "both ways" in printed
    assert "Operations, as the profiler saw them" in printed
    assert "1.2 times" not in printed  # which takes a model


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--cell", "lstms"], "invalid choice: 'lstms'"),
        (["--cell", "examples.cells.peephole_lstm:PeepholeLSTM"], "invalid choice"),
        (["--phase", "backward"], "invalid choice: 'backward'"),
        (["--budget", "0"], "--budget: expected seconds above 0, got '0'"),
        (["--batch", "0"], "--batch: expected an integer of at least 1"),
        (["--device", "cuda:99"], "device"),
        (["--hidden", "2000000"], "expected a network that fits"),
    ],
)
def test_what_cannot_be_run_is_one_line(wrong, words, capsys):
    assert status_of(why, [*SMALL, *wrong, "--out", "out"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert words in line
