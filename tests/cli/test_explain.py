"""`--explain`: one option of every command that shows a record; without it a line says that there is more."""

import io
import json
from importlib import import_module

import pytest
from rich.console import Console

from diagnostics import plots, shapes
from tests.render.runs import race, run
from unrolled.cli.command import Command
from unrolled.render import bench
from unrolled.render.text import HINT

COMMANDS = (
    "why",
    "gradflow",
    "spectrum",
    "shapes",
    "forecast",
    "learn",
    "advise",
    "sweep",
    "parallel",
    "plots",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_shows_a_record_takes_it(name):
    arguments = {"plots": ["folder"], "sweep": ["spectrum"]}.get(name, [])
    parser = Command(name, f"unrolled {name}").parser
    assert parser.parse_args([*arguments, "--explain"]).explain
    assert not parser.parse_args(arguments).explain


@pytest.mark.parametrize("command", [shapes, plots])
def test_what_it_adds_and_where_it_is_pointed_out(command, tmp_path, capsys):
    assert shapes.main(["--cell", "gru", "--no-plots", "--quiet", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    arguments = ["--cell", "gru"] if command is shapes else [str(tmp_path), "--no-plots"]
    printed = []
    for more in ([], ["--explain"]):
        assert command.main([*arguments, *more]) == 0
        printed.append(capsys.readouterr().out)
    short, whole = printed
    assert short.endswith(f"{HINT}\n")
    assert "the loop of cells with the same weights" not in " ".join(short.split())
    assert HINT not in whole
    assert "the loop of cells with the same weights" in " ".join(whole.split())
    assert set(short.replace(HINT, "").split()) <= set(whole.split())


def test_json_stays_json(capsys):
    for more in ([], ["--explain"]):
        assert shapes.main(["--cell", "gru", "--json", *more]) == 0
        assert json.loads(capsys.readouterr().out)["format"] == "unrolled.shapes"


def test_tables_saved_as_svg_have_no_hint(tmp_path, capsys):
    run(race({"fused": 1.0, "cells": 2.0})).save(tmp_path / "bench.json")
    assert plots.main([str(tmp_path), "--no-plots", "--svg", str(tmp_path / "tables.svg")]) == 0
    assert HINT not in capsys.readouterr().out


def test_a_benchmark_explains_its_columns_and_its_noise():
    said = []
    for explain in (False, True):
        screen = Console(width=120, file=io.StringIO(), record=True)
        bench.show(run(race({"fused": 1.0, "cells": 2.0})), screen, explain=explain)
        said.append(screen.export_text())
    assert "against itself stayed within" not in said[0]
    assert "against itself stayed within" in said[1]
    assert "Noise: how far the reference was from itself." in said[1]


@pytest.mark.parametrize("name", ["gradflow", "spectrum", "shapes", "forecast", "bench"])
def test_every_view_of_a_command_has_an_answer(name):
    view = import_module(f"unrolled.render.{name}")
    assert callable(view.answer)
