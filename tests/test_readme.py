"""What the README says can be done, can be done."""

import re
from pathlib import Path

import pytest

from unrolled.implementations import load
from unrolled.networks.workload import Workload
from unrolled.speed.equivalence import check_equivalence

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_implementation_in_ten_lines_is_one(tmp_path, monkeypatch):
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    workload = Workload(
        cell="rnn_tanh", input_size=3, hidden_size=4, num_layers=2, bidirectional=True, batch_size=2, seq_len=5
    )
    found = check_equivalence(workload, load("mine:build"))
    assert found.equal, str(found)
    assert len([line for line in source.splitlines() if line.strip()]) <= 12  # ten, and two imports


@pytest.mark.parametrize("path", re.findall(r"\]\((docs/[^)]*)\)", README))
def test_every_picture_and_folder_it_names_is_there(path):
    assert (ROOT / path).exists()


def test_every_option_it_shows_exists():
    from unrolled.speed.settings import LIST_OPTIONS

    known = {option.flag for option in LIST_OPTIONS} | {"--grid", "--budget", "--threads", "--out", "--help"}
    shown = set(
        re.findall(r"(?<=\s)--[a-z-]+", "\n".join(re.findall(r"^    pytest bench.*$", README, re.MULTILINE)))
    )
    assert shown - {"--benchmark-only"} <= known
