"""`python -m diagnostics.plots` of a benchmark: which cells, and which way round."""

import pytest

from diagnostics import gradflow, plots
from tests.diagnostics.conftest import status_of
from tests.render.runs import race, run
from unrolled import Workload


@pytest.fixture
def results(tmp_path):
    """Three cells, in a folder of its own."""
    folder = tmp_path / "results"
    folder.mkdir()
    made = [
        each
        for cell in ("rnn_tanh", "gru", "lstm")
        for each in race({"fused": 1, "cells": 2}, Workload(cell=cell))
    ]
    run(made).save(folder / "bench.json")
    return folder


@pytest.mark.parametrize(
    "words", [["--cell", "lstm,gru"], ["--cell", "lstm", "--cell", "gru"], ["--cell", "gru, lstm"]]
)
def test_cells_are_named_with_commas_or_one_by_one(results, capsys, words):
    assert plots.main([str(results), "--no-plots", *words]) == 0
    printed = capsys.readouterr().out
    assert [name for name in ("rnn_tanh", "gru", "lstm") if f"{name} · forward" in printed] == ["gru", "lstm"]


def test_a_cell_that_was_not_raced_is_one_line(results, capsys):
    assert plots.main([str(results), "--no-plots", "--cell", "rnn_relu"]) == 2
    assert "--cell: expected one of rnn_tanh, gru, lstm, got rnn_relu" in capsys.readouterr().err


def test_as_speedup_turns_tables_and_plots_round(results, tmp_path, capsys):
    out = tmp_path / "out"
    assert plots.main([str(results), "--out", str(out), "--as", "speedup"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "cells was 0.50 times as fast" in printed
    assert "speedup" in printed
    assert {path.name for path in out.iterdir()} == {"speedup-cpu.png", "speedup-cpu.svg"}


def test_as_is_one_of_two_words_and_about_benchmarks(results, tmp_path, capsys):
    assert status_of(plots, [str(results), "--as", "percent"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    tiny = "--cell gru --hidden 4 --input 3 --batch 2 --length 5 --lengths 5 --no-plots --quiet"
    assert gradflow.main([*tiny.split(), "--out", str(tmp_path / "flow")]) == 0
    capsys.readouterr()
    assert plots.main([str(tmp_path / "flow"), "--as", "speedup"]) == 2
    assert "expected a file of format unrolled.bench" in capsys.readouterr().err


def test_where_nothing_was_timed_a_line_says_that_there_is_no_plot(tmp_path, capsys):
    run(race({"mine": 1.0}, wrong=("mine",))).save(tmp_path / "bench.json")
    assert plots.main([str(tmp_path)]) == 0
    assert "Nothing was timed, so there is nothing to draw." in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
