"""Every wrong command line is one line on standard error and status 2 (1 where it fails while it runs); nothing is made."""

import json
import re

import pytest
import torch

from tests.cli.wrong_lines import lines

LINES = list(lines())
CHUNKS = 12
THEIRS = """
import sys
import torch
from torch import nn

def exits(): sys.exit(0)
def raises(): raise KeyError("not here")
def raises_beyond(): raise GeneratorExit
def gives_none(): return None
def no_recurrence(): return nn.Linear(3, 3)
def make(): return nn.GRU(3, 4)
def with_input(): return nn.GRU(3, 4), torch.zeros(20, 2, 3)

class Leaves(nn.GRU):
    def forward(self, *args): sys.exit(0)

def leaves_forward(): return Leaves(3, 4)
"""
FILES = {
    "text.csv": "x\n1\n2\n",
    "bad.csv": "x\n" + "1\n" * 20 + "one\n",
    "short.csv": "x\n1\n2\n",
    "flat.csv": "x\n" + "1\n" * 40,
    "text.pt": "weights",
    "empty.pt": "",
    "their.py": THEIRS,
    "their_exit.py": "import sys\nsys.exit(0)\n",
    "their_error.py": "def f(:\n",
    "list.json": "[]",
    "deep.json": "[" * 5000 + "]" * 5000,
    "else.json": json.dumps({"format": ["a"], "version": 1}),
    "newer.json": json.dumps({"format": "unrolled.gradflow", "version": 99}),
    "bench.json": json.dumps({"format": "unrolled.bench", "version": 2}),
}


@pytest.fixture
def furnished(place):
    """The folder with files to be wrong about."""
    for name, text in FILES.items():
        (place / name).write_text(text)
    torch.save({"weight": torch.zeros(3)}, place / "other.pt")
    torch.save(torch.nn.GRU(3, 4).state_dict(), place / "state.pt")
    (place / "empty").mkdir()
    return place


def test_there_are_more_than_300_of_all_kinds():
    assert len(LINES) > 300
    assert {command for command, _ in LINES} == {
        "gradflow",
        "spectrum",
        "forecast",
        "shapes",
        "plots",
        "compare",
    }


@pytest.mark.parametrize(
    "chunk", [pytest.param(k, marks=pytest.mark.slow if k % 3 else []) for k in range(CHUNKS)]
)
def test_a_wrong_line_is_one_line_with_its_status_and_nothing_is_made(warm, furnished, chunk):
    before = sorted(
        path.relative_to(furnished) for path in furnished.rglob("*") if "__pycache__" not in path.parts
    )
    wrong = []
    for command, arguments in LINES[chunk::CHUNKS]:
        done = warm.run(command, *arguments, cwd=furnished)
        problems = []
        if done.status not in (1, 2):
            problems.append(f"status {done.status}")
        if done.out:
            problems.append(f"printed {done.out[:60]!r}")
        if len(done.err.splitlines()) != 1 or not re.match(rf"python -m diagnostics\.{command}: ", done.err):
            problems.append(f"said {done.err[-600:]!r}")
        after = sorted(
            path.relative_to(furnished) for path in furnished.rglob("*") if "__pycache__" not in path.parts
        )
        if after != before:
            problems.append(f"made {set(after) - set(before)}, lost {set(before) - set(after)}")
            before = after
        if problems:
            wrong.append(f"{command} {' '.join(arguments)[-90:]}: {'; '.join(problems)}")
    assert not wrong, "\n".join(wrong)
