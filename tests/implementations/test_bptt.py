"""`bptt`: gradients by blocks of steps are those of autograd, whatever is asked for, and no more than that is promised."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from tests.implementations.test_same_as_fused import CELLS, B, H, I, T, assert_same, initial_state, make, run
from unrolled.cells import cell_of
from unrolled.cells.weights import Weights
from unrolled.errors import ImplementationError, InvalidValueError
from unrolled.implementations import bptt, implement, load
from unrolled.rollout import layer


def built(module):
    return implement(load("bptt"), module)


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        yield


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("cell", CELLS)
def test_differences_of_the_function_agree(cell, bias):
    module = make(cell, bias=bias)
    kind = cell_of(module)
    state = kind.state(torch.randn, B, hidden_size=H)
    state = state if isinstance(state, tuple) else (state,)
    leaves = [torch.randn(T, B, I), *state, *module.parameters()]

    def function(x, *rest):
        weights = (*rest[len(state) :], *([] if bias else [None, None]), None)
        output, last = bptt.scan(Weights(*weights), kind, x, rest[: len(state)])
        return output, *last

    assert torch.autograd.gradcheck(function, [leaf.detach().double().requires_grad_() for leaf in leaves])


@pytest.mark.parametrize("numbers", [1, 2 * B * H, 3 * B * H])
@pytest.mark.parametrize("cell", CELLS)
def test_however_many_steps_a_block_has(cell, numbers, monkeypatch):
    monkeypatch.setattr(layer, "BLOCK_NUMBERS", numbers)
    module = make(cell, num_layers=2, bidirectional=True)
    x = torch.randn(7, B, I, dtype=torch.float64)
    state = initial_state(module)
    assert_same(run(built(module), module, x, state), run(module, module, x, state))


@pytest.mark.parametrize("cell", CELLS)
def test_long_sequences_to_ten_digits(cell):
    module = make(cell)
    x = torch.randn(200, 8, I, dtype=torch.float64)
    for found, expected in zip(run(built(module), module, x, None), run(module, module, x, None), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * expected.abs().max().item())


@pytest.mark.parametrize("wanted", ["x", "state", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
@pytest.mark.parametrize("cell", CELLS)
def test_one_gradient_alone(cell, wanted):
    module = make(cell).requires_grad_(False)
    x, state = torch.randn(T, B, I, dtype=torch.float64), initial_state(module)
    first = state[0] if isinstance(state, tuple) else state
    leaf = {"x": x, "state": first}.get(wanted)
    leaf = getattr(module, wanted) if leaf is None else leaf
    leaf.requires_grad_()
    gradients = [
        torch.autograd.grad(call(x, state)[0].sin().sum(), leaf)[0] for call in (built(module), module)
    ]
    assert_same(*([each] for each in gradients))


@pytest.mark.parametrize("part", ["output", "last", "last h", "last c", "one step"])
def test_what_no_gradient_reaches_counts_as_zero(part):
    module = make("lstm")
    x = torch.randn(T, B, I, dtype=torch.float64)
    weights = list(module.parameters())

    def gradients(call):
        output, (h, c) = call(x)
        some = {"output": output, "last": h + c, "last h": h, "last c": c, "one step": output[2]}[part]
        return torch.autograd.grad(some.square().sum(), weights)

    assert_same(gradients(built(module)), gradients(module))


def test_a_graph_that_is_kept_gives_the_same_again():
    module = make("gru")
    loss = built(module)(torch.randn(T, B, I, dtype=torch.float64))[0].square().sum()
    first, again = (torch.autograd.grad(loss, list(module.parameters()), retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, again))


@pytest.mark.parametrize("cell", CELLS)
def test_no_digit_of_the_result_is_another(cell):
    for dtype in (torch.float32, torch.float64):
        module = CELLS[cell](dtype=dtype)
        x = torch.randn(T, B, I, dtype=dtype)
        with torch.no_grad():
            assert torch.equal(built(module)(x)[0], module(x)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_is_carried_back_in_float32(cell):
    """As near to float64 as some roundings of the states that bfloat16 goes through allow."""
    module = CELLS[cell](dtype=torch.bfloat16)
    exact = CELLS[cell](dtype=torch.float64)
    exact.load_state_dict(module.state_dict())
    x = torch.randn(T, B, I).to(torch.bfloat16)
    found, expected = (
        torch.autograd.grad(call(each)[0].sum(), [each, *of.parameters()])
        for call, of, each in (
            (built(module), module, x.requires_grad_()),
            (exact, exact, x.detach().double().requires_grad_()),
        )
    )
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.double() - b).norm() <= 2**-5 * b.norm()


def test_a_gradient_of_gradients_is_refused_in_words():
    module = make("rnn_tanh")
    loss = built(module)(torch.randn(T, B, I, dtype=torch.float64))[0].sum()
    with pytest.raises(ImplementationError, match=r"without create_graph=True.*take the fused module"):
        torch.autograd.grad(loss, list(module.parameters()), create_graph=True)


def test_an_output_that_was_written_into_is_noticed():
    module = make("rnn_tanh")
    output = built(module)(torch.randn(T, B, I, dtype=torch.float64))[0]
    output.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_weights_that_moved_before_the_backward_pass_are_noticed():
    module = make("rnn_tanh")
    loss = built(module)(torch.randn(T, B, I, dtype=torch.float64))[0].sum()
    with torch.no_grad():
        module.weight_hh_l0.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_no_samples_give_gradients_of_zero_and_no_steps_are_refused():
    module = make("gru")
    output, _ = built(module)(torch.randn(T, 0, I, dtype=torch.float64))
    output.sum().backward()
    assert all(bool((parameter.grad == 0).all()) for parameter in module.parameters())
    with pytest.raises(InvalidValueError, match="expected at least one step"):
        built(module)(torch.randn(0, B, I, dtype=torch.float64))


def test_backward_passes_in_several_threads_do_not_share_memory():
    """Each loss has gradients of its own, whichever thread is where."""
    module = make("lstm").requires_grad_(False)
    inputs = [torch.randn(50, B, I, dtype=torch.float64, requires_grad=True) for _ in range(16)]

    def gradient(x, call):
        return torch.autograd.grad(call(x)[0].square().sum(), x)[0]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: gradient(x, built(module)), inputs))
    assert_same(found, [gradient(x, module) for x in inputs])


def test_a_layer_is_one_node_of_the_graph():
    module = nn.GRU(I, H, num_layers=1)
    node = built(module)(torch.randn(T, B, I))[0].grad_fn
    assert "Recurrence" in type(node).__name__
