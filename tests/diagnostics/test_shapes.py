"""`python -m diagnostics.shapes` as it is used: what it prints, what it writes, what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from diagnostics import shapes
from unrolled.shapes.record import Shapes

ROOT = Path(__file__).parents[2]
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
    from rich.console import Console

    monkeypatch.setattr(shapes, "console", lambda: Console(width=columns, highlight=False))
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
    found = Shapes.from_json(sh("--cell", "gru", "--layers", "2", "--json")[1])
    assert [d.built for d in found.descriptions] == [
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
    assert [one["configuration"]["form"] for one in content["configurations"]] == ["fused", "cells"]
    assert content["configurations"][0]["built"] == built


def test_a_projection_says_that_there_is_no_such_cell(sh):
    _, printed, errors = sh("--proj-size", "5", "--layers", "2")
    assert (
        "torch.nn has no LSTMCell with proj_size: the loop is its equations, written out gate by gate."
        in " ".join(printed.split())
    )
    assert errors == ""  # also not torch's word on oneDNN


def test_seed_and_dtype_leave_the_walkthrough_and_change_its_numbers(sh):
    frames = [
        Shapes.from_json(sh(*arguments, "--json")[1]).frame()
        for arguments in ([], ["--seed", "1"], ["--dtype", "float64"])
    ]
    assert [len(frame) for frame in frames] == [10, 10, 10]
    assert list(frames[0]["difference"]) != list(frames[1]["difference"])
    assert frames[2]["difference"].max() < 1e-14 < frames[0]["difference"].min()


def test_json_is_all_that_is_on_standard_output(sh, tmp_path):
    _, printed, errors = sh("--cell", "lstm", "--json", "--out", str(tmp_path))
    assert printed == (tmp_path / "shapes.json").read_text()
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
    assert {path.name for path in folders[0].iterdir()} == FILES | {"notes.txt"}
    for name in FILES:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    frame, parameters = (pd.read_csv(folders[0] / name) for name in ("shapes.csv", "parameters.csv"))
    assert list(frame["out"]) == ["(10, 3, 40)"] * 2
    assert list(frame["c"]) == ["(4, 3, 20)", "; ".join(["(3, 20)"] * 4)]
    assert parameters.groupby("configuration")["count"].sum().nunique() == 1
    assert len(parameters) == 2 * 16


def test_the_walkthrough_has_a_picture_for_each_row(sh, tmp_path, monkeypatch):
    from unrolled.output import shapes_plots

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
    from unrolled.output import shapes_plots

    (tmp_path / "shapes.csv").write_text("old")

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shapes_plots, "draw_shapes", full_disk)
    status, _, errors = sh("--cell", "gru", "--out", str(tmp_path))
    assert status == 2
    assert "No space left on device" in errors
    assert len(errors.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["shapes.csv"]
    assert (tmp_path / "shapes.csv").read_text() == "old"


def test_a_module_that_does_not_agree_with_its_loop_is_exit_status_1(sh, monkeypatch):
    from unrolled.shapes import projected

    step = projected._step
    monkeypatch.setattr(projected, "_step", lambda layer, hr, x, h, c: step(layer, hr, x, h, c.neg()))
    status, printed, _ = sh("--proj-size", "5")
    assert status == 1
    assert "more than rounding explains" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--input 0", "input_size: expected an integer of at least 1, got 0"),
        ("--hidden 0", "hidden_size: expected an integer of at least 1, got 0"),
        ("--hidden -3", "hidden_size: expected an integer of at least 1, got -3"),
        ("--hidden 30,0", "hidden_size: expected an integer of at least 1, got 0"),
        ("--hidden 30,", "--hidden: expected a number, or one per layer with commas in between, got '30,'; try 30,20"),
        ("--hidden wide", "--hidden: expected a number, or one per layer with commas in between, got 'wide'"),
        ("--hidden 30,20 --layers 3", "hidden_size: expected one size or 3 (num_layers), got 2: (30, 20)"),
        ("--layers 0", "num_layers: expected an integer of at least 1, got 0"),
        ("--batch -1", "batch_size: expected an integer of at least 1, got -1"),
        ("--batch 0", "batch_size: expected an integer of at least 1, got 0"),
        ("--length 0", "seq_len: expected an integer of at least 1, got 0"),
        ("--proj-size 20", "proj_size: expected 0 (none) to 19, below hidden_size, got 20"),
        ("--proj-size -1", "proj_size: expected 0 (none) to 19, below hidden_size, got -1"),
        ("--hidden 1 --proj-size 1", "proj_size: expected 0 (none) to 0, below hidden_size, got 1"),
        ("--cell gru --proj-size 5", "proj_size: expected cell lstm, got gru; no other cell has a projection"),
        ("--hidden 30,20 --proj-size 25", "proj_size: expected 0 (none) to 19, below hidden_size, got 25"),
        ("--unbatched --batch 3", "--unbatched: expected an input (T, I), got --batch beside it; leave one out"),
        ("--unbatched --batch-first", "--unbatched: expected an input (T, I), got --batch-first beside it"),
        ("--seed -1", "--seed: expected a number from 0 to 2147483647, got -1"),
        ("--device tpu", "device: expected cpu, cuda or cuda:N, got 'tpu'"),
        ("--device cuda:99", "device: cuda:99 was asked for"),
        ("--hidden 100000", "sizes: expected at most 536,870,912 numbers in weights and activations, got"),
        ("--out {file}/x", "out: expected a folder that can be written"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_2(sh, tmp_path, arguments, message):
    file = tmp_path / "file"
    file.write_text("mine")
    status, printed, errors = sh(*arguments.format(file=file).split())
    assert message in errors
    assert errors.startswith("python -m diagnostics.shapes: ")
    assert len(errors.splitlines()) == 1
    assert (status, printed) == (2, "")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("arguments", [["--cell", "rnn"], ["--clop"], ["--layers", "many"], ["--proj-size"]])
def test_a_mistyped_option_is_one_line_and_status_2(capsys, arguments):
    with pytest.raises(SystemExit) as raised:
        shapes.main(arguments)
    assert raised.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_help_lists_every_option_of_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "diagnostics.shapes", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    options = (
        "cell input hidden layers batch length bidirectional batch-first unbatched no-bias proj-size dtype"
    )
    for option in f"{options} device seed json out quiet".split():
        assert f"--{option}" in done.stdout


@pytest.mark.cuda
def test_the_command_runs_on_cuda(sh):
    assert sh("--device", "cuda")[0] == 0
