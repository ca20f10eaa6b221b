"""Every kind's step is torch's, and its pull-back and push-forward are the transpose and the Jacobian of that step."""

import dataclasses

import pytest
import torch
from torch import nn

from tests.cells.helpers import (
    B,
    H,
    I,
    T,
    autograd_jacobians,
    linearised,
    pulled_jacobians,
    pushed_jacobians,
    random_inputs,
    random_state,
    random_weights,
    trajectory,
)
from unrolled.cells import CELLS, cell_named, cell_of
from unrolled.cells.linearised import Buffers
from unrolled.cells.weights import Weights, names

ROUNDING = 1e-14  # some fifty roundings of numbers near 1: sums of ten terms, and a few more operations
KINDS = [(name, bias, 0) for name in CELLS for bias in (True, False)] + [("lstm", True, 3), ("lstm", False, 3)]
every_kind = pytest.mark.parametrize(("name", "bias", "proj_size"), KINDS)


def near(found, expected):
    torch.testing.assert_close(found, expected, rtol=ROUNDING, atol=ROUNDING)


def loaded(module, weights, suffix=""):
    for short, weight in weights.named().items():
        setattr(module, short + suffix, nn.Parameter(weight))
    return module


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_a_step_is_torchs_own_cell(name, bias):
    cell = cell_named(name)
    weights, state, x = random_weights(cell, bias), random_state(cell), random_inputs(1)[0]
    torchs = loaded(cell.stepped(I, H, bias=bias, dtype=torch.float64, **cell.options), weights)
    expected = torchs(x, state if len(state) > 1 else state[0])
    near(cell.step(weights, x, state), expected if isinstance(expected, tuple) else (expected,))


@every_kind
def test_a_run_of_steps_is_torchs_fused_module(name, bias, proj_size):
    cell = cell_named(name)
    weights, state, x = random_weights(cell, bias, proj_size), random_state(cell, proj_size), random_inputs()
    projection = {"proj_size": proj_size} if proj_size else {}
    module = cell.fused(I, H, bias=bias, dtype=torch.float64, **cell.options, **projection)
    module = loaded(module, weights, "_l0")
    first = tuple(part[None] for part in state)
    output, last = module(x, first if len(first) > 1 else first[0])
    states = trajectory(cell, weights, x, state)
    near(states[0][1:], output)
    near(states[-1][-1], (last if isinstance(last, tuple) else (last,))[-1][0])


@every_kind
def test_tangents_are_pushed_by_the_jacobian_of_the_step(name, bias, proj_size):
    cell, x = cell_named(name), random_inputs()
    weights, state = random_weights(cell, bias, proj_size), random_state(cell, proj_size)
    block, states = linearised(cell, weights, x, state)
    expected = autograd_jacobians(cell, weights, x, states)
    for found, truth in zip(pushed_jacobians(block, x, expected[0].shape[-1]), expected, strict=True):
        near(found, truth)
    assert expected[0].abs().max() > 0.1


@every_kind
def test_cotangents_are_pulled_back_by_the_transpose_of_what_pushes_tangents(name, bias, proj_size):
    cell, x = cell_named(name), random_inputs()
    weights, state = random_weights(cell, bias, proj_size), random_state(cell, proj_size)
    block, states = linearised(cell, weights, x, state)
    sizes = cell.state_sizes(H, proj_size)
    pulled, pushed = pulled_jacobians(block, x, sizes), pushed_jacobians(block, x, sum(sizes))
    truth = autograd_jacobians(cell, weights, x, states)
    for found, other, expected in zip(pulled, pushed, truth, strict=True):
        near(found, other)
        near(found, expected)


@every_kind
def test_gradients_of_the_weights_are_autograds(name, bias, proj_size):
    cell, x = cell_named(name), random_inputs()
    weights, state = random_weights(cell, bias, proj_size), random_state(cell, proj_size)
    leaves = {short: weight.clone().requires_grad_() for short, weight in weights.named().items()}
    cotangent = torch.randn(
        T, B, proj_size or H, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    states = trajectory(cell, dataclasses.replace(weights, **leaves), x, state)
    expected = torch.autograd.grad((states[0][1:] * cotangent).sum(), list(leaves.values()))

    pull = linearised(cell, weights, x, state)[0].pull_back()
    for buffer in pull.cotangents:
        buffer.zero_()
    pull.cotangents[0][1:] = cotangent
    pull.pull(0, T)
    sums = {short: torch.zeros_like(weight) for short, weight in leaves.items()}
    pull.add_gradients(torch.ones(T, B, 1, dtype=torch.float64), sums)
    for found, truth in zip(sums.values(), expected, strict=True):
        # Sums over 18 steps and samples, of products of up to six Jacobians.
        torch.testing.assert_close(found, truth, rtol=100 * ROUNDING, atol=100 * ROUNDING)


@pytest.mark.parametrize("name", ["rnn_tanh", "lstm"])
def test_inverse_steps_undo_the_transposed_jacobian(name):
    cell, x = cell_named(name), random_inputs()
    weights, state = random_weights(cell), random_state(cell)
    block, states = linearised(cell, weights, x, state)
    inverse = block.push_forward().inverse()
    jacobians = autograd_jacobians(cell, weights, x, states)[0]
    size = jacobians.shape[-1]
    for t in range(T):
        units = torch.eye(size, dtype=torch.float64).repeat(1, B)
        found = inverse(t, t + 1, units, (torch.empty_like(units), torch.empty_like(units)))
        found = found.view(size, B, size).transpose(0, 1)
        identity = torch.eye(size, dtype=torch.float64).expand(B, -1, -1)
        # An inverse is as good as some roundings times the condition number.
        roundings = 64 * torch.finfo(torch.float64).eps * float(torch.linalg.cond(jacobians[t]).max())
        assert roundings < 1e-6
        torch.testing.assert_close(jacobians[t].mT @ found, identity, rtol=0, atol=roundings)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_exchanged_gates_are_noticed(name):
    """The comparisons above can fail: rows of two gates exchanged, or a bias lost, move steps and Jacobians far."""
    cell, x = cell_named(name), random_inputs()
    weights, state = random_weights(cell), random_state(cell)
    block, states = linearised(cell, weights, x, state)
    right = pushed_jacobians(block, x, sum(cell.state_sizes(H)))[0]
    rows = torch.arange(len(weights.weight_ih)).view(-1, H)[[1, 0, *range(2, len(cell.gates))]].ravel()
    planted = [
        dataclasses.replace(weights, **{short: weight[rows] for short, weight in weights.named().items()}),
        dataclasses.replace(weights, bias_ih=None, bias_hh=None),
        dataclasses.replace(weights, bias_hh=torch.zeros_like(weights.bias_hh)),
    ]
    for wrong in planted:
        assert (trajectory(cell, wrong, x, state)[0] - states[0]).abs().max() > 1e-2
        c = states[1][0] if len(states) > 1 else None
        moved = cell.linearise(wrong, x, states[0], c, Buffers(T, states[0]))
        assert (pushed_jacobians(moved, x, right.shape[-1])[0] - right).abs().max() > 1e-2


@every_kind
def test_parameters_have_the_shapes_that_torch_gives_them(name, bias, proj_size):
    cell = cell_named(name)
    projection = {"proj_size": proj_size} if proj_size else {}
    module = cell.fused(I, H, num_layers=2, bidirectional=True, bias=bias, **cell.options, **projection)
    shapes = [cell.shapes(width, H, proj_size) for width in (I, 2 * (proj_size or H))]
    for row, weights in enumerate(Weights.each(module)):
        named = weights.named()
        assert {short: tuple(w.shape) for short, w in named.items()} == {s: shapes[row // 2][s] for s in named}
        for short, full in names(row // 2, bool(row % 2)).items():
            assert named.get(short) is getattr(module, full, None)  # the very parameters


@pytest.mark.parametrize("name", CELLS)
def test_a_module_and_a_cell_are_known_by_what_they_run(name):
    cell = cell_named(name)
    assert cell.name == name
    assert cell_of(cell.fused(I, H, **cell.options)) is cell
    assert cell_of(cell.stepped(I, H, **cell.options)) is cell


def test_gates_that_keep_let_in_and_write_are_gates_of_the_cell():
    for cell in map(cell_named, CELLS):
        letters = [gate.letter for gate in cell.gates]
        assert cell.candidate in letters
        assert {cell.keeps, cell.lets_in} - {None} <= set(letters)


@pytest.mark.parametrize("name", ["rnn_tanh", "gru", "lstm"])
def test_the_jacobian_at_rest_is_that_of_the_step(name):
    cell = cell_named(name)
    weights = random_weights(cell, bias=False)
    rest = tuple(torch.zeros_like(part)[None, :1] for part in random_state(cell))
    jacobian = autograd_jacobians(
        cell, weights, torch.zeros(1, 1, I).double(), [r.repeat(2, 1, 1) for r in rest]
    )
    found = torch.linalg.eigvals(jacobian[0][0, 0])
    recurrent = weights.weight_hh.chunk(len(cell.gates))[cell.number_of(cell.candidate)]
    kept, written = cell.at_rest
    expected = torch.linalg.eigvals(kept * torch.eye(H).double() + written * recurrent)
    largest = found.abs().sort(descending=True).values[:H]
    torch.testing.assert_close(largest, expected.abs().sort(descending=True).values, rtol=1e-12, atol=1e-12)
