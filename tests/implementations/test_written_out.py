"""The rungs between `cells` and `fused` compute what the fused module does, and do what their names say."""

from itertools import product

import pytest
import torch
from torch import nn

from tests.implementations.test_same_as_fused import CELLS, B, I, T, assert_same, initial_state, make, run
from unrolled.errors import ImplementationError
from unrolled.implementations import RUNGS, implement, load
from unrolled.implementations.written_out import Projected, WrittenOut, without_onednn

ONE_GATE = ("rnn_tanh", "rnn_relu")


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


def exists(name, cell):
    return not ((name == "gate_by_gate" and cell in ONE_GATE) or (name == "folded" and cell == "gru"))


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize(("name", "cell"), [each for each in product(RUNGS, CELLS) if exists(*each)])
def test_each_rung_is_the_fused_module(name, cell, num_layers, bidirectional):
    for bias, given in product([False, True], repeat=2):
        module = make(cell, num_layers=num_layers, bidirectional=bidirectional, bias=bias)
        x = torch.randn(T, B, I, dtype=torch.float64)
        state = initial_state(module) if given else None
        built = implement(load(name), module)
        assert_same(run(built, module, x, state), run(module, module, x, state))


@pytest.mark.parametrize(("name", "cell"), [each for each in product(RUNGS, CELLS) if not exists(*each)])
def test_a_rung_that_changes_nothing_is_refused_with_the_one_to_take(name, cell):
    with pytest.raises(ImplementationError, match=f"{name}: expected .*; take "):
        implement(load(name), make(cell))


@pytest.mark.parametrize("cell", CELLS)
def test_the_loop_in_c_plus_plus_is_to_the_bit_that_in_python(cell):
    """The same operations in the same order: nothing else differs between both rungs."""
    module = CELLS[cell]()
    x = torch.randn(T, B, I)
    with without_onednn():
        expected = module(x)[0]
    assert torch.equal(Projected(module)(x)[0], expected)


@pytest.mark.parametrize("kind", [WrittenOut, Projected])
def test_a_step_is_called_once_a_step(kind):
    built, calls = kind(nn.GRU(I, 6, num_layers=2)), []
    step = built.step
    built.step = lambda *given: calls.append(1) or step(*given)
    built(torch.randn(T, B, I))
    assert len(calls) == 2 * T


def test_a_recorded_loop_has_a_graph_even_in_inference_mode():
    module = nn.LSTM(I, 6)
    built = implement(load("recorded"), module)
    with torch.inference_mode():
        state = tuple(torch.ones(1, B, 6) for _ in range(2))
        output, _ = built(torch.randn(T, B, I), state)
    output.sum().backward()
    assert module.weight_hh_l0.grad is not None
