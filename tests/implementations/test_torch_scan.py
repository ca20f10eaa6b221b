"""`torch_scan`: torch's operator computes what the loop does, gradients too, where it computes anything."""

import pytest
import torch
from torch import nn

from tests.implementations.test_same_as_fused import CELLS, B, I, T, assert_same, initial_state, make, run
from unrolled import Workload, race
from unrolled.errors import ImplementationError
from unrolled.implementations import implement, load, torch_scan


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


@pytest.mark.slow  # it traces a step at each call
@pytest.mark.filterwarnings("default")  # torch has warnings of its own while it traces
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("cell", CELLS)
def test_it_is_the_fused_module(cell, bidirectional):
    module = make(cell, num_layers=2, bidirectional=bidirectional, batch_first=True)
    x, state = torch.randn(B, T, I, dtype=torch.float64), initial_state(module)
    assert_same(run(implement(load("torch_scan"), module), module, x, state), run(module, module, x, state))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["min_gru:MinGRU", "minimal_gated_unit:MinimalGatedUnit"])
def test_cells_of_one_s_own_are_the_same_work(name):
    workload = Workload(cell=f"examples.cells.{name}", hidden_size=5, input_size=4, batch_size=2, seq_len=6)
    assert race(workload, "training", "torch_scan", budget=0.02, passes=1).status == "ok"


def test_without_the_operator_it_is_refused_in_a_line(monkeypatch):
    monkeypatch.setattr(torch_scan, "_scan", None)
    with pytest.raises(
        ImplementationError, match="torch_scan: expected torch's scan operator, .*; take hoisted"
    ):
        implement(load("torch_scan"), nn.GRU(I, 4))
