"""What no memory here holds is refused at once, in one line; what fits is not."""

import time

import pytest
import torch
from torch import nn

from unrolled import Workload
from unrolled.cells import CELLS
from unrolled.checks import LARGEST
from unrolled.errors import InvalidValueError, OutOfMemoryError
from unrolled.networks import memory
from unrolled.networks.model import UserModel
from unrolled.networks.textbook import networks
from unrolled.networks.workload import MOST_LAYERS
from unrolled.shapes.configuration import Configuration

TINY = {"input_size": 3, "hidden_size": 4, "batch_size": 2, "seq_len": 3}
TOO_LARGE = [
    {"hidden_size": 10**8},
    {"hidden_size": (10**8, 4)},
    {"input_size": 10**14},
    {"seq_len": 10**12, "batch_size": 100},
    {"batch_size": 10**14},
    {
        "hidden_size": LARGEST,
        "input_size": LARGEST,
        "batch_size": LARGEST,
        "seq_len": LARGEST,
        "num_layers": 1000,
    },
]


def refused(error, call):
    start = time.monotonic()
    with pytest.raises(error) as raised:
        call()
    assert time.monotonic() - start < 60  # drawing, or a loop over layers, would take as good as for ever
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("sizes", TOO_LARGE, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_a_network_that_cannot_fit_is_refused_before_it_is_drawn(cell, sizes):
    workload = Workload(cell=cell, **{**TINY, **sizes})
    message = refused(OutOfMemoryError, workload.reference)
    assert message.startswith("sizes: ")
    assert workload.label in message
    for network in networks(workload)[:1]:
        refused(OutOfMemoryError, network.module)


def test_input_target_and_state_are_refused_before_they_are_drawn():
    workload = Workload(**{**TINY, "seq_len": 10**15})
    for draw in (workload.input, workload.target):
        assert "(1000000000000000, 2, " in refused(OutOfMemoryError, draw)
    refused(OutOfMemoryError, lambda: Workload(**TINY).random((10**10, 10**10), stream=3))


def test_the_input_of_a_model_is_refused_before_it_is_drawn():
    model = UserModel("theirs:make", nn.GRU(3, 4))
    assert "(10000000000000, 16, 3)" in refused(OutOfMemoryError, lambda: model.input(10**13))


@pytest.mark.parametrize("name", TINY)
def test_a_size_that_torch_has_no_integer_for_is_refused(name):
    assert refused(InvalidValueError, lambda: Workload(**{**TINY, name: LARGEST + 1})).startswith(f"{name}: ")
    refused(InvalidValueError, lambda: Workload(**{**TINY, name: 10**30}))
    assert getattr(Workload(**{**TINY, name: LARGEST}), name) == LARGEST


def test_layers_that_nobody_could_count_are_refused():
    assert refused(InvalidValueError, lambda: Workload(num_layers=10**9)).startswith("num_layers: ")
    assert Workload(num_layers=MOST_LAYERS).label.startswith(f"lstm-L{MOST_LAYERS}-")


@pytest.mark.parametrize("sizes", TOO_LARGE, ids=str)
def test_shapes_are_not_taken_of_what_cannot_fit(sizes):
    refused(InvalidValueError, lambda: Configuration(workload=Workload(**{**TINY, **sizes})))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("layers", [{}, {"num_layers": 3, "bidirectional": True}, {"hidden_size": (30, 20)}])
@pytest.mark.parametrize("cell", CELLS)
def test_what_fits_to_the_byte_is_allowed_and_one_byte_less_is_not(cell, layers, dtype, monkeypatch):
    """Counted from the module itself: float64 weights as drawn, or weights, input and output as called."""
    workload = Workload(
        cell=cell, input_size=5, **{"hidden_size": 7, "batch_size": 2, "seq_len": 11, **layers}, dtype=dtype
    )
    module, x = workload.reference(), workload.input()
    numbers = sum(parameter.numel() for parameter in module.parameters())
    called = numbers + x.numel() + module(x)[0].numel()
    needed = max(8 * numbers, 8 * x.numel(), x.element_size() * called)
    monkeypatch.setattr(memory, "memory_bytes", lambda: needed)
    workload.reference()
    monkeypatch.setattr(memory, "memory_bytes", lambda: needed - 1)
    refused(OutOfMemoryError, workload.reference)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 8 * x.numel())
    assert torch.equal(workload.input(), x)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 8 * x.numel() - 1)
    refused(OutOfMemoryError, workload.input)


def test_where_memory_is_not_known_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    Workload(hidden_size=10**8).check_memory()


def test_of_a_cell_that_somebody_else_wrote_no_weights_are_supposed():
    workload = Workload(
        cell="examples.cells.min_gru:MinGRU", input_size=1, hidden_size=10**7, batch_size=1, seq_len=1
    )
    workload.check_memory()  # its weights may be as few as its units


@pytest.mark.cuda
def test_the_memory_of_the_device_counts_where_a_network_goes_there(monkeypatch):
    workload = Workload(**TINY, device="cuda")
    workload.reference()
    large = Workload(**{**TINY, "batch_size": torch.cuda.get_device_properties(0).total_memory}, device="cuda")
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    assert "cuda" in refused(OutOfMemoryError, large.reference)
