"""`inference`: what the fused module computes, without gradients, and nothing that was given is written into."""

from itertools import product

import pytest
import torch
from torch import nn

from tests.implementations.test_same_as_fused import CELLS, B, I, T, initial_state, make, parts
from unrolled import Workload, race
from unrolled.errors import ImplementationError
from unrolled.implementations import implement, load


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


def build(module):
    return implement(load("inference"), module)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_layers_directions_layouts_and_states(cell, num_layers, mode):
    for bidirectional, batch_first, bias, given in product([False, True], repeat=4):
        module = make(
            cell, num_layers=num_layers, bidirectional=bidirectional, batch_first=batch_first, bias=bias
        )
        x = torch.randn(*((B, T) if batch_first else (T, B)), I, dtype=torch.float64)
        state = initial_state(module) if given else None
        before = [x.clone(), *([] if state is None else [part.clone() for part in parts(state)])]
        with mode():
            found, expected = build(module)(x, state), module(x, state)
        for a, b in zip(parts(found), parts(expected), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        after = [x, *([] if state is None else parts(state))]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_input_without_a_batch_and_of_one_step(cell):
    module = make(cell, num_layers=2)
    with torch.no_grad():
        for x in (torch.randn(T, I).double(), torch.randn(1, B, I).double()):
            for a, b in zip(parts(build(module)(x)), parts(module(x)), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_where_gradients_are_wanted_it_is_refused():
    module = nn.GRU(I, 6)
    with pytest.raises(ImplementationError, match=r"inference: expected no gradients.*torch\.no_grad"):
        build(module)(torch.randn(T, B, I))
    module.requires_grad_(False)
    assert build(module)(torch.randn(T, B, I))[0].shape == (T, B, 6)


@pytest.mark.parametrize("cell", CELLS)
def test_it_is_raced_in_forward_and_refused_in_training(cell):
    workload = Workload(cell=cell, hidden_size=8, input_size=4, batch_size=2, seq_len=6)
    assert race(workload, "forward", "inference", budget=0.02, passes=2).status == "ok"
    refused = race(workload, "training", "inference", budget=0.02, passes=2)
    assert refused.status == "failed"
    assert "expected no gradients" in refused.reason
