"""Somebody else's model or cell that leaves, takes all memory or changes torch's settings: named, and undone."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.test_torch_settings import CHANGES
from unrolled.cells.build import build, load_cell
from unrolled.errors import ImplementationError, OutOfMemoryError
from unrolled.gradients.lengths import measure_lengths
from unrolled.gradients.reach import measure_reach
from unrolled.networks.model import UserModel, load_model
from unrolled.networks.subject import their_errors
from unrolled.networks.textbook import Network
from unrolled.networks.workload import Workload
from unrolled.plugins import resolve
from unrolled.torch_settings import TorchSettings, settings_kept

NUMBERS = itertools.count()
LEAVE = {"exit": "sys.exit(0)", "nothing said": "sys.exit()", "words": "raise SystemExit('no')"}


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """`plugin(source)`: a module in the current folder; gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(source):
        name = f"their_code_{next(NUMBERS)}"
        Path(f"{name}.py").write_text(f"import sys, torch\nfrom torch import nn\n{source}\n")
        return name

    return write


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
@pytest.mark.parametrize(
    "ask",
    [
        lambda path: resolve(path, "model"),
        lambda path: load_model(path, 0),
        lambda path: load_cell(path),
        lambda path: build(path, 2, 3),
    ],
    ids=["resolve", "load_model", "load_cell", "build"],
)
def test_a_module_that_leaves_when_it_is_imported_is_named(ask, leave, plugin):
    path = f"{plugin(leave)}:make"
    with pytest.raises(ImplementationError) as raised:
        ask(path)
    assert path in str(raised.value)
    assert "SystemExit" in str(raised.value)


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
def test_a_factory_that_leaves_is_named(leave, plugin):
    path = f"{plugin(f'def make(): {leave}')}:make"
    with pytest.raises(ImplementationError) as raised:
        load_model(path, 0)
    assert path in str(raised.value)
    assert "SystemExit" in str(raised.value)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("when", ["imported", "called"])
def test_what_a_factory_changes_of_torch_s_settings_is_put_back_and_said_to_who_asks(
    when, name, plugin, monkeypatch
):
    body = (
        "def make():\n    {}\n    return nn.GRU(2, 3)"
        if when == "called"
        else "{}\ndef make(): return nn.GRU(2, 3)"
    )
    act = "from tests.test_torch_settings import CHANGES; CHANGES[NAME]()".replace("NAME", repr(name))
    path = f"{plugin(body.format(act))}:make"
    before = TorchSettings.now()
    with settings_kept() as changed:
        model, _ = load_model(path, 0)
        assert TorchSettings.now() == before
    assert isinstance(model, nn.GRU)
    assert any(words.startswith(name) for words in changed)


CHANGING_CELL = """
class Cell(nn.GRUCell):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        torch.set_num_threads(5)
    def forward(self, *given):
        torch.set_flush_denormal(True)
        return super().forward(*given)
"""


def test_a_cell_s_settings_are_put_back_too(plugin):
    before = TorchSettings.now()
    path = f"{plugin(CHANGING_CELL)}:Cell"
    with settings_kept() as changed:
        Workload(cell=path, input_size=2, hidden_size=3).reference()
        assert TorchSettings.now() == before
    assert {words.split(" ")[0] for words in changed} == {"threads", "flush"}


class Leaves(nn.Module):
    """A GRU that leaves after some calls; a look at it puts back what it keeps on itself, and so it counts elsewhere."""

    def __init__(self, calls, error):
        super().__init__()
        self.gru = nn.GRU(2, 3)
        numbers = itertools.count()
        self.leaves = lambda: next(numbers) >= calls
        self.error = error

    def forward(self, x):
        if self.leaves():
            raise self.error
        return self.gru(x)


ENDS = [
    (SystemExit(0), ImplementationError),
    (RuntimeError("no such kernel"), ImplementationError),
    (MemoryError(), OutOfMemoryError),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfMemoryError),
    (KeyboardInterrupt(), KeyboardInterrupt),
]


@pytest.mark.parametrize("calls", range(3))
@pytest.mark.parametrize(("error", "expected"), ENDS, ids=lambda value: repr(value)[:30])
def test_whatever_ends_a_measurement_of_a_model_names_it(error, expected, calls):
    """In the first call that is `measure_reach`'s, later one of those over the length."""
    model = UserModel("theirs:make", Leaves(calls, error), torch.randn(5, 2, 2))
    with pytest.raises(expected) as raised:
        measure_everything(model)
    if expected is not KeyboardInterrupt:
        assert "theirs:make" in str(raised.value)
        assert "\n" not in str(raised.value)


def measure_everything(model):
    measure_reach(model)
    for results in measure_lengths(model, [5], ["none"]):
        for result in results:
            if result.problem is not None:  # some models run at one length alone
                raise ImplementationError(result.problem)


@pytest.mark.parametrize(("error", "expected"), ENDS, ids=lambda value: repr(value)[:30])
def test_errors_of_a_network_of_torch_s_own_are_ours_but_for_memory(error, expected):
    network = Network(name="LSTM", workload=Workload(cell="lstm"))
    kept = expected if expected is OutOfMemoryError else type(error)
    with pytest.raises(kept), their_errors(network, torch.ones(1)):
        raise error


def test_a_cell_that_takes_more_memory_than_there_is_is_told_from_one_that_is_wrong(plugin):
    path = f"{plugin('class Cell(nn.GRUCell): pass')}:Cell"
    with pytest.raises(OutOfMemoryError, match="Cell"):
        Workload(cell=path, input_size=2, hidden_size=10**9, batch_size=1, seq_len=1).reference()
