"""What the README says can be done, can be done."""

import re
from pathlib import Path

import pytest

from diagnostics import gradflow, shapes, spectrum
from unrolled.implementations import load
from unrolled.networks.workload import Workload
from unrolled.speed.equivalence import check_equivalence

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_implementation_in_ten_lines_is_one(tmp_path, monkeypatch):
    (source,) = (code for code in CODE if "class Leaky" not in code)
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    workload = Workload(
        cell="rnn_tanh", input_size=3, hidden_size=4, num_layers=2, bidirectional=True, batch_size=2, seq_len=5
    )
    found = check_equivalence(workload, load("mine:build"))
    assert found.equal, str(found)
    assert len([line for line in source.splitlines() if line.strip()]) <= 12  # ten, and two imports


def test_the_own_cell_goes_through_the_commands_it_names(tmp_path, monkeypatch):
    (source,) = (code for code in CODE if "class Leaky" in code)
    (tmp_path / "readme_cell.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    small = [
        "--cell",
        "readme_cell:Leaky",
        "--hidden",
        "3",
        "--input",
        "2",
        "--batch",
        "2",
        "--quiet",
        "--length",
        "6",
    ]
    for command in (gradflow, spectrum):
        assert command.main([*small, "--no-plots", "--out", str(tmp_path / "out")]) == 0
    assert shapes.main(small) == 0
    workload = Workload(cell="readme_cell:Leaky", input_size=3, hidden_size=4, num_layers=2, bidirectional=True)
    assert check_equivalence(workload.replace(batch_size=2, seq_len=5), load("fused")).equal


@pytest.mark.parametrize("path", re.findall(r"\]\((docs/[^)]*)\)", README))
def test_every_picture_and_folder_it_names_is_there(path):
    assert (ROOT / path).exists()


def test_every_option_it_shows_exists():
    from unrolled.speed.settings import LIST_OPTIONS

    known = {option.flag for option in LIST_OPTIONS} | {"--grid", "--budget", "--out", "--help", "--as"}
    shown = set(
        re.findall(r"(?<=\s)--[a-z-]+", "\n".join(re.findall(r"^    pytest bench.*$", README, re.MULTILINE)))
    )
    assert shown - {"--benchmark-only"} <= known
