"""What the tests of the commands share."""

import itertools
import sys

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def _own_threads():
    """The command sets torch's threads for its process; here that is everybody's."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """`plugin(source)`: a module in the current folder; gives its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    count = itertools.count()

    def write(source):
        name = f"their_model_{tmp_path.name.replace('-', '_')}_{next(count)}"
        (tmp_path / f"{name}.py").write_text(f"import torch\nfrom torch import nn\n{source}\n")
        return name

    return write
