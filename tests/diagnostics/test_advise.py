"""`python -m diagnostics.advise` as it is used: what it prints, what it writes, what it refuses."""

import pytest

from diagnostics import advise, plots
from tests.diagnostics.conftest import status_of
from unrolled.advising.study import Advice

SMALL = ["--seeds", "6", "--iterations", "100", "--hidden", "16", "--lr", "0.01", "--batch", "8"]
DATA = ["--model", "tests.advising.test_advice:make", "--data", "tests.advising.test_advice:batches"]
FILES = {"advise.json", "trainings.csv", "changes.csv", "advice.png", "advice.svg"}


@pytest.mark.parametrize("width", [80, pytest.param(120, marks=pytest.mark.slow)])
def test_a_network_that_forgets_is_told_what_helped(width, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert advise.main([*SMALL, "--delay", "30", "--quiet", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    words = " ".join(printed.out.split())
    assert "RNN tanh: recall of one of 4 symbols over 30 steps, up to 100 iterations" in words
    assert "Advised: orthogonal weights, gain 1, which helped in 6 of 6 seeds (99 %: 0.41 to 1.00)" in words
    assert "of 60 steps back where 30 are needed." in words
    assert max(map(len, printed.out.splitlines())) <= width
    assert printed.err == ""
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == FILES
    assert plots.main([str(tmp_path), "--no-plots"]) == 0
    again = " ".join(capsys.readouterr().out.split())
    assert again.split("--explain")[0] == words.split("--explain")[0]


def test_a_healthy_network_is_told_that_there_is_nothing(tmp_path, capsys):
    options = ["--init", "orthogonal", "--delay", "10", "--explain"]
    assert advise.main([*SMALL, *options, "--out", str(tmp_path)]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "Nothing to advise: before training the gradient is" in words
    assert "unchanged 0 of" not in words
    assert Advice.load(tmp_path / "advise.json").tried == ()
    assert not (tmp_path / "advice.png").exists()


def test_a_model_with_its_data_and_what_did_not_help_is_not_named(tmp_path, capsys):
    assert advise.main([*DATA, "--seeds", "2", "--iterations", "5", "--no-plots", "--out", str(tmp_path)]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "Nothing that was tried helped beyond chance" in words
    assert "chrono" not in words
    assert len(Advice.load(tmp_path / "advise.json").tried) == 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--preset", "exploding"], "--preset: expected one of classic, explode, vanish"),
        (["--preset", "explode", "--cell", "gru"], "--preset: expected no --cell beside it"),
        (["--model", "tests.advising.test_advice:make"], "--data: expected a model and its data"),
        (["--data", "tests.advising.test_advice:batches"], "--model: expected a model and its data"),
        ([*DATA, "--delay", "5"], "--model: expected no --delay beside it"),
        ([*DATA[:3], "tests.advising.test_advice:none"], "none"),
        ([*DATA, "--clip", "norms:1"], "clip"),
        ([*DATA, "--checkpoint", "nowhere.pt"], "nowhere.pt"),
        (["--cell", "gru,lstm"], "--cell: expected one cell, got gru, lstm"),
        (["--task", "sums"], "task: expected one of recall"),
        (["--checkpoint", "best.pt"], "--task: expected no --checkpoint beside it"),
        (["--delay", "0"], "--delay: expected an integer of at least 1"),
        (["--seeds", "0"], "--seeds: expected an integer of at least 1"),
    ],
)
def test_what_cannot_be_tried_is_one_line(wrong, words, capsys):
    assert status_of(advise, [*wrong, "--out", "out"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert words in line
