"""Newton's method over all steps computes what the fused module does, and the gradients that autograd finds."""

import copy
import warnings
from functools import partial

import pytest
import torch
from torch import nn

from tests.implementations.test_same_as_fused import (
    CELLS,
    B,
    I,
    T,
    assert_same,
    initial_state,
    make,
    run,
)
from unrolled.errors import ImplementationError
from unrolled.implementations import implement
from unrolled.implementations.newton import MOST_ITERATIONS, build
from unrolled.implementations.registry import Implementation
from unrolled.networks.workload import Workload
from unrolled.speed.race import race


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


@pytest.mark.parametrize("given_state", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_layers_directions_layouts_and_states(cell, bias, batch_first, bidirectional, given_state):
    module = make(cell, num_layers=2, bidirectional=bidirectional, batch_first=batch_first, bias=bias)
    x = torch.randn(*((B, T) if batch_first else (T, B)), I, dtype=torch.float64)
    state = initial_state(module) if given_state else None
    built = implement(Implementation("newton", build), module)
    assert_same(run(built, module, x, state), run(module, module, x, state))
    assert len(built.iterations) == (4 if bidirectional else 2)
    assert all(count <= T for count in built.iterations)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_over_hundreds_of_steps_are_those_of_bptt_to_a_billionth(cell):
    module = make(cell)
    x = torch.randn(300, B, I, dtype=torch.float64)
    built = build(module)
    found, expected = run(built, module, x, None), run(module, module, x, None)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert max(built.iterations) < 20


@pytest.mark.parametrize("cell", CELLS)
def test_packed_sequences_and_dropout(cell):
    module = make(cell, num_layers=2, bidirectional=True, dropout=0.4)
    x = torch.randn(T, 3, I, dtype=torch.float64)
    pack = partial(nn.utils.rnn.pack_padded_sequence, lengths=torch.tensor([2, 5, 3]), enforce_sorted=False)
    built = build(module)
    assert_same(run(built, module, x, None, pack), run(module, module, x, None, pack))
    assert_same(run(built, module, x, None), run(module, module, x, None))


def test_the_parameters_are_the_references_own_and_a_copy_stands_on_its_own():
    module = make("gru")
    built = build(module)
    assert {id(p) for p in built.parameters()} == {id(p) for p in module.parameters()}
    x = torch.randn(T, B, I, dtype=torch.float64)
    twin = copy.deepcopy(built)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert twin(x)[0].abs().max() == 0
    assert built(x)[0].abs().max() > 0


def test_what_does_not_converge_is_run_step_by_step_and_said_once():
    module = make("rnn_tanh")
    with torch.no_grad():
        module.weight_hh_l0.copy_(8 * torch.randn(6, 6, dtype=torch.float64))
    x = torch.randn(1500, B, I, dtype=torch.float64)
    built = build(module)
    with pytest.warns(UserWarning, match=f"newton: expected a trajectory within {MOST_ITERATIONS} iterations"):
        output, _ = built(x)
    assert built.iterations == (None,)
    with torch.no_grad():
        expected, states = [], torch.zeros(B, 6, dtype=torch.float64)
        for x_t in x[:20]:
            states = torch.tanh(
                x_t @ module.weight_ih_l0.T
                + module.bias_ih_l0
                + states @ module.weight_hh_l0.T
                + module.bias_hh_l0
            )
            expected.append(states)
    torch.testing.assert_close(output[:20].detach(), torch.stack(expected), rtol=1e-6, atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built(x)


def test_a_graph_of_the_gradients_is_refused():
    module = make("lstm")
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    output, _ = build(module)(x)
    with pytest.raises(ImplementationError, match="newton: expected a backward pass without create_graph=True"):
        torch.autograd.grad(output.sum(), x, create_graph=True)


def test_float32_is_as_near_as_rounding_lets_it():
    module = nn.LSTM(I, 6)
    x = torch.randn(200, B, I)
    built = build(module)
    torch.testing.assert_close(built(x)[0], module(x)[0], rtol=1e-4, atol=1e-5)
    assert None not in built.iterations


@pytest.mark.parametrize("wrong", [nn.LSTM(I, 6, proj_size=2), nn.Linear(I, 6)])
def test_what_a_loop_cannot_reproduce_is_refused(wrong):
    with pytest.raises(ImplementationError):
        build(wrong)


@pytest.mark.filterwarnings("ignore:newton")
@pytest.mark.parametrize("most", [MOST_ITERATIONS, 1])
def test_its_iterations_stand_in_the_row_of_a_race(most, monkeypatch):
    monkeypatch.setattr("unrolled.implementations.newton.MOST_ITERATIONS", most)
    workload = Workload(cell="rnn_tanh", input_size=2, hidden_size=8, num_layers=2, batch_size=1, seq_len=100)
    result = race(workload, "forward", "newton", budget=0.01)
    assert result.status == "ok", result.reason
    if most == 1:
        assert result.iterations == (None, None)
        assert result.row()["iterations"] == "loop"
    else:
        assert all(1 < count < 10 for count in result.iterations)
        assert result.row()["iterations"] == str(max(result.iterations))
    assert " iterations " in " ".join(str(result).split())
    assert race(workload, "forward", "hoisted", budget=0.01).row()["iterations"] == ""
