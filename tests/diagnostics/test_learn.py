"""`python -m diagnostics.learn` as it is used: what it prints, what it writes, what it refuses."""

import pytest

from diagnostics import learn, plots
from tests.diagnostics.conftest import status_of
from unrolled.learning.study import Learning

SMALL = [
    "--delays",
    "2,3",
    "--seeds",
    "2",
    "--iterations",
    "50",
    "--hidden",
    "8",
    "--batch",
    "8",
    "--lr",
    "0.01",
]
FILES = {
    "learn.json", "trials.csv", "success.csv", "networks.csv", "learners.csv", "success.png", "success.svg", "learned.png",
    "learned.svg",
}  # fmt: skip


def test_the_textbook_in_one_command_and_again_from_its_file(tmp_path, capsys):
    assert learn.main([*SMALL, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    words = " ".join(printed.out.split())
    for said in (
        "recall of one of 4 symbols; 8 hidden units: seeds of 2 that learned each delay, and horizons",
        "The horizon before training says what is learned, within a factor of 2, for",
        "RNN tanh, orthogonal learns longer delays than RNN tanh in",
        "LSTM, chrono:3 learns longer delays than LSTM in",
        "--explain says",
    ):
        assert said in words
    assert printed.err == ""
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == FILES
    found = Learning.load(tmp_path / "learn.json")
    assert len(found.learners) == 12
    assert plots.main([str(tmp_path), "--no-plots"]) == 0
    again = " ".join(capsys.readouterr().out.split())
    assert again.split("--explain")[0] == words.split("--explain")[0]


@pytest.mark.parametrize("task", ["copy", "adding", "xor"])
def test_one_network_on_every_other_task(task, tmp_path, capsys):
    options = ["--task", task, "--cell", "lstm", "--forget-bias", "1", "--clip", "zclip:2.5", "--every-delay"]
    assert learn.main([*SMALL, *options, "--no-plots", "--explain", "--out", str(tmp_path)]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "LSTM, forget bias 1 learns delays up to" in words
    assert "Predicted: holds if the horizon before is within a factor of 2" in words
    found = Learning.load(tmp_path / "learn.json")
    assert [len(each.trials) for each in found.learners] == [2, 2]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--task", "sums"], "task: expected one of recall, copy, adding, xor, got 'sums'"),
        (["--delays", "20,10"], "delays: expected increasing numbers of steps"),
        (["--delays", "ten"], "--delays: expected numbers with commas in between"),
        (["--seeds", "0"], "--seeds: expected an integer of at least 1"),
        (["--lr", "0"], "--lr: expected a number above 0, got '0'"),
        (["--lr", "inf"], "--lr: expected a number above 0, got 'inf'"),
        (["--clip", "norms:1"], "clip"),
        (["--cell", "gru", "--forget-bias", "1"], "forget bias: expected cell lstm, got gru"),
        (["--cell", "nowhere:Cell"], "nowhere"),
        (["--device", "cuda:99"], "device"),
        (["--hidden", "2000000"], "expected a network that fits"),
        (["--model", "a:b"], "unrecognized arguments"),
    ],
)
def test_what_cannot_be_trained_is_one_line(wrong, words, capsys):
    assert status_of(learn, [*SMALL, *wrong, "--out", "out"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert words in line
