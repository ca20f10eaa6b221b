"""`python -m diagnostics.shapes` as it is used: what it prints, what it writes, what it refuses."""

import json
import re

import pandas as pd
import pytest
import torch

from diagnostics import shapes
from tests.diagnostics.conftest import status_of
from unrolled.shapes.record import Shapes

FILES = {"shapes.csv", "parameters.csv", "shapes.json", "unrolled.png", "unrolled.svg"}


@pytest.fixture
def sh(capsys):
    """Run the command; gives status, standard output and standard error."""

    def run(*arguments):
        status = shapes.main(list(arguments))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_the_walkthrough_has_a_row_for_each_module_and_cell(sh):
    status, printed, errors = sh()
    assert (status, errors) == (0, "")
    built = " ".join(line[:25].strip() for line in printed.splitlines())
    place = 0
    for row in ("nn.RNN(100, 20) ", "nn.RNN(100, 20, num_layers=4) ", "nn.RNNCell(100, 20), stepped 10 times ",
                "nn.RNNCell(100, 30) → nn.RNNCell(30, 20), stepped 10 times ", "nn.LSTM(100, 20, num_layers=4) ",
                "nn.LSTMCell(100, 20), stepped", "nn.LSTMCell(100, 30) → nn.LSTMCell(30, 20), stepped",
                "nn.GRU(100, 20, num_layers=4) ", "nn.GRUCell(100, 20), stepped",
                "nn.GRUCell(100, 30) → nn.GRUCell(30, 20), stepped"):  # fmt: skip
        place = " ".join(built.split()).index(row, place)
    assert printed.count("(10, 3, 20)") == 10
    assert "Every module agrees with its loop to rounding: the largest difference is" in printed
    assert max(map(len, printed.splitlines())) <= 120


@pytest.mark.parametrize("columns", [80, 120])
def test_it_fits_the_terminal_it_is_printed_in(sh, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in ([], ["--cell", "lstm", "--layers", "4", "--bidirectional", "--proj-size", "5"]):
        _, printed, _ = sh(*arguments)
        assert max(map(len, printed.splitlines())) <= columns
        assert "…" not in printed


def test_options_describe_one_network_and_its_loop(sh):
    status, printed, _ = sh("--cell", "gru", "--input", "6", "--hidden", "8", "--layers", "2", "--batch", "4",
                            "--length", "7", "--bidirectional", "--batch-first", "--no-bias")  # fmt: skip
    assert status == 0
    assert "input (4, 7, 6)" in printed
    words = " ".join(printed.split())
    assert "weight_ih_l1_reverse (24, 16) 384 0:8 r, 8:16 z, 16:24 n" in words
    assert "bias_ih" not in printed
    found = json.loads(sh("--cell", "gru", "--layers", "2", "--json")[1])
    assert [d["built"] for d in found["descriptions"]] == [
        "nn.GRU(100, 20, num_layers=2)",
        "nn.GRUCell(100, 20) → nn.GRUCell(20, 20), stepped 10 times",
    ]


@pytest.mark.parametrize(
    ("arguments", "built"),
    [
        ("--layers 2", "nn.RNN(100, 20, num_layers=2)"),
        ("--length 1", "nn.RNN(100, 20)"),
        ("--bidirectional", "nn.RNN(100, 20, bidirectional=True)"),
        ("--unbatched", "nn.RNN(100, 20)"),
        ("--proj-size 5", "nn.LSTM(100, 20, proj_size=5)"),
        ("--proj-size 0", "nn.RNN(100, 20)"),
        ("--cell rnn_relu", "nn.RNN(100, 20, nonlinearity='relu')"),
        ("--hidden 30,20 --cell lstm", "nn.LSTM(100, 30) → nn.LSTM(30, 20)"),
        ("--hidden 30,20,20 --layers 3", "nn.RNN(100, 30) → nn.RNN(30, 20) → nn.RNN(20, 20)"),
        ("--no-bias --dtype float64", "nn.RNN(100, 20, bias=False, dtype=torch.float64)"),
    ],
)
def test_any_option_of_the_network_asks_about_it_alone(sh, arguments, built):
    status, printed, _ = sh(*arguments.split(), "--json")
    content = json.loads(printed)
    assert status == 0
    assert [one["configuration"]["form"] for one in content["descriptions"]] == ["fused", "cells"]
    assert content["descriptions"][0]["built"] == built


def test_a_projection_says_that_there_is_no_such_cell(sh):
    _, printed, errors = sh("--proj-size", "5", "--layers", "2")
    assert (
        "torch.nn has no LSTMCell with proj_size: the loop is its equations, written out gate by gate."
        in " ".join(printed.split())
    )
    assert errors == ""  # also not torch's word on oneDNN


def test_seed_and_dtype_leave_the_walkthrough_and_change_its_numbers(sh, tmp_path):
    """Module and loop may agree to the last bit, so that the numbers are looked at in the weights."""

    def found(*arguments):
        (tmp_path / "printed.json").write_text(sh(*arguments, "--json")[1])
        return Shapes.load(tmp_path / "printed.json")

    plain, seeded, double = found(), found("--seed", "1"), found("--dtype", "float64")
    assert [one.built for one in plain.descriptions] == [one.built for one in seeded.descriptions]
    assert [len(found.frame()) for found in (plain, seeded, double)] == [10, 10, 10]
    first, other, wide = (
        next(found.descriptions[0].configuration.reference().parameters()).detach()
        for found in (plain, seeded, double)
    )
    assert (first.dtype, other.dtype, wide.dtype) == (torch.float32, torch.float32, torch.float64)
    assert (first - other).abs().max() > 0.1
    assert (first - wide).abs().max() < 1e-7  # the same numbers, rounded
    # Sums of 120 products of float64, over ten steps: some tens of roundings of 2e-16.
    assert double.frame()["difference"].max() < 1e-14


def test_json_is_all_that_is_on_standard_output(sh, tmp_path):
    _, printed, errors = sh("--cell", "lstm", "--json", "--out", str(tmp_path))
    assert printed == Shapes.load(tmp_path / "shapes.json").text()
    assert errors == ""
    assert json.loads(printed)["environment"]["torch"] == torch.__version__


def test_files_are_written_whole_and_the_same_each_time_and_nothing_else_is_touched(sh, tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    folders[0].mkdir()
    (folders[0] / "notes.txt").write_text("mine")
    (folders[0] / "shapes.csv").write_text("old")
    for folder in folders:
        _, printed, _ = sh("--cell", "lstm", "--layers", "2", "--bidirectional", "--out", str(folder))
        assert f"{folder}/unrolled.svg" in printed
    assert {path.name for path in folders[0].iterdir()} == FILES | {"notes.txt", "previous"}
    assert (folders[0] / "previous" / "shapes.csv").read_text() == "old"
    for name in FILES:  # the same operations in one process and one thread, and no date in any file
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    frame, parameters = (pd.read_csv(folders[0] / name) for name in ("shapes.csv", "parameters.csv"))
    assert list(frame["out"]) == ["(10, 3, 40)"] * 2
    assert list(frame["c"]) == ["(4, 3, 20)", "; ".join(["(3, 20)"] * 4)]
    assert parameters.groupby("configuration")["count"].sum().nunique() == 1
    assert len(parameters) == 2 * 16


def test_the_walkthrough_has_a_picture_for_each_row(sh, tmp_path, monkeypatch):
    from unrolled.render import shapes_plots

    def save(figure, folder, name):
        (folder / f"{name}.svg").write_text("a picture")
        return [folder / f"{name}.svg"]

    monkeypatch.setattr(shapes_plots, "save", save)
    assert sh("--out", str(tmp_path))[0] == 0
    rows = "rnn_tanh rnn_tanh-4-layers rnn_tanh-cell rnn_tanh-2-cells lstm-4-layers lstm-cell lstm-2-cells"
    rows += " gru-4-layers gru-cell gru-2-cells"
    assert {path.name for path in tmp_path.glob("*.svg")} == {f"unrolled-{row}.svg" for row in rows.split()}


def test_quiet_does_not_list_the_files(sh, tmp_path):
    _, printed, errors = sh("--cell", "gru", "--quiet", "--out", str(tmp_path))
    assert str(tmp_path) not in printed
    assert errors == ""


def test_a_failure_while_drawing_leaves_what_was_there(sh, tmp_path, monkeypatch):
    from unrolled.render import shapes_plots

    (tmp_path / "shapes.csv").write_text("old")

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shapes_plots, "draw_shapes", full_disk)
    status, _, errors = sh("--cell", "gru", "--out", str(tmp_path))
    assert status == 1
    assert "No space left on device" in errors
    assert len(errors.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"shapes.csv", "shapes.partial.json"}
    assert (tmp_path / "shapes.csv").read_text() == "old"


def test_a_module_that_does_not_agree_with_its_loop_is_exit_status_1(sh, monkeypatch):
    from unrolled.cells.lstm import LSTM

    step = LSTM.step
    monkeypatch.setattr(LSTM, "step", lambda self, weights, x, s: step(self, weights, x, (s[0], s[1].neg())))
    status, printed, _ = sh("--proj-size", "5")
    assert status == 1
    assert "more than rounding explains" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--input 0", "--input: .*got 0"),
        ("--hidden 0", "--hidden: .*got '0'"),
        ("--hidden -3", "--hidden: .*got '-3'"),
        ("--hidden 30,0", "--hidden: .*got '30,0'"),
        ("--hidden 30,", "--hidden: .*got '30,'"),
        ("--hidden wide", "--hidden: .*got 'wide'"),
        ("--hidden 30,20 --layers 3", r"hidden_size: .*got 2: \(30, 20\)"),
        ("--layers 0", "--layers: .*got 0"),
        ("--batch -1", "--batch: .*got -1"),
        ("--batch 0", "--batch: .*got 0"),
        ("--length 0", "--length: .*got 0"),
        ("--proj-size 20", "proj_size: .*got 20"),
        ("--proj-size -1", "--proj-size: .*got -1"),
        ("--hidden 1 --proj-size 1", "proj_size: .*got 1"),
        ("--cell gru --proj-size 5", "proj_size: .*got gru"),
        ("--hidden 30,20 --proj-size 25", "proj_size: .*got 25"),
        ("--unbatched --batch 3", "--unbatched: .*got --batch beside it"),
        ("--unbatched --batch-first", "--unbatched: .*got --batch-first beside it"),
        ("--seed -1", "--seed: .*got -1"),
        ("--device tpu", "device: .*got 'tpu'"),
        ("--device cuda:99", "device: .*cuda:99"),
        ("--hidden 100000", "sizes: .*536,870,912"),
        ("--out {file}/x", "out: .*got .*file/x"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_2(sh, tmp_path, arguments, message):
    file = tmp_path / "file"
    file.write_text("mine")
    status, printed, errors = sh(*arguments.format(file=file).split())
    assert re.search(message, errors)
    assert errors.startswith("python -m diagnostics.shapes: ")
    assert len(errors.splitlines()) == 1
    assert (status, printed) == (2, "")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("arguments", [["--cell", "rnn"], ["--clop"], ["--layers", "many"], ["--proj-size"]])
def test_a_mistyped_option_is_one_line_and_status_2(capsys, arguments):
    assert status_of(shapes, arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_help_lists_every_option_of_the_command(capsys):
    with pytest.raises(SystemExit) as raised:
        shapes.main(["--help"])
    assert raised.value.code == 0
    shown = capsys.readouterr().out
    options = (
        "cell input hidden layers batch length bidirectional batch-first unbatched no-bias proj-size dtype"
    )
    for option in f"{options} device seed json out quiet".split():
        assert f"--{option}" in shown


@pytest.mark.cuda
def test_the_command_runs_on_cuda(sh):
    assert sh("--device", "cuda")[0] == 0
