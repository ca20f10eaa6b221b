"""What the README says is done here, and what it shows is what is shown."""

import re
from io import StringIO

import pytest
from rich.console import Console

from tests.documented import Reader, blocks_of, commands_of
from tests.processes import ROOT
from unrolled.render.saved import load, view_of

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
RESULTS = ROOT / "docs" / "results" / "cpu"


@pytest.mark.slow
def test_all_that_it_says_can_be_done_is_done(monkeypatch, tmp_path):
    for name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    reader = Reader(tmp_path)
    reader.read(README)
    assert reader.left == ["pip install 'unrolled[all]'"]


def test_it_is_short():
    assert len(TEXT.split()) <= 900


def test_its_first_code_is_ten_lines_and_its_cell_too():
    model = next(block for block in blocks_of(README) if block.language == "python")
    cell = next(block for block in blocks_of(README) if block.title == "mine.py")
    for block in (model, cell):
        assert len([line for line in block.text.splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize("name", ["gradflow", "bench"])
def test_the_tables_it_shows_are_those_of_the_published_results(name):
    typed = f"unrolled {name}\n"
    shown = next(
        after
        for before, after in zip(blocks_of(README), blocks_of(README)[1:], strict=False)
        if before.text == typed
    )
    record = load(RESULTS / f"{name}.json")
    record = record.only(["lstm"]) if name == "bench" else record
    screen = Console(file=StringIO(), width=100)
    view_of(record).show(record, screen)
    lines = {line.rstrip() for line in screen.file.getvalue().splitlines()}
    assert shown.language == "text"
    assert len(shown.text.splitlines()) > 5
    assert set(shown.text.splitlines()) <= lines


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]*)\)", TEXT))
def test_whatever_it_points_to_is_there(target):
    assert (ROOT / target).exists()


def test_it_names_every_command():
    named = {line.split()[1] for line in commands_of(README) if line.startswith("unrolled ")}
    assert named | set(re.findall(r"`unrolled (\w+)", TEXT)) >= {
        "bench",
        "gradflow",
        "spectrum",
        "forecast",
        "report",
        "compare",
    }
