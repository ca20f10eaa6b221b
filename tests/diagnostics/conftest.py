"""What the tests of the commands share."""

import itertools
import sys

import pytest
import torch

# What rich and argparse would read from the environment and print differently for.
TERMINAL = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


@pytest.fixture(autouse=True, scope="module")
def _plain_terminal():
    """The tables of a terminal that says nothing of itself, also for what a module makes once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in TERMINAL:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True, scope="module")
def _one_thread_for_the_module():
    """What a module makes once is made on one thread, as all else."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _one_thread(_one_thread_for_the_module):
    """Sums are then taken in one order, and what is computed twice can be compared bit for bit.

    A command sets torch's threads for its process; here that is everybody's.
    """
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


def status_of(command, arguments):
    """The exit status of a line that argparse, or the command, refuses."""
    try:
        return command.main(arguments)
    except SystemExit as error:
        return error.code


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
