"""Newton's method over all steps, held to a plain one that solves one dense system with derivatives by autograd."""

from itertools import islice

import numpy as np
import pytest
import torch

from tests.newton.networks import noisy_tanh, random_layer, start
from unrolled.newton.recurrence import StepRecurrence, in_a_row
from unrolled.newton.solve import iterates, solve

CELLS = ["rnn_tanh", "rnn_relu", "gru", "lstm"]


def plain_newton(recurrence, first, diagonal):
    """Guesses `(T, S)` of one sample, from 0: `F(s) = s_t - f(s_{t-1})`, its dense Jacobian, and one solve for all."""
    steps, size = recurrence.steps, recurrence.size
    guess = np.zeros((steps, size))
    while True:
        yield guess
        residual, jacobian = np.zeros(steps * size), np.eye(steps * size)
        for t in range(steps):
            before = first[0] if t == 0 else torch.from_numpy(guess[t - 1])
            step = recurrence.part(t, t + 1)
            function = lambda s, step=step: step.apply(s.view(1, 1, -1)).flatten()  # noqa: E731
            rows = slice(t * size, (t + 1) * size)
            residual[rows] = guess[t] - function(before).numpy()
            if t:
                block = torch.autograd.functional.jacobian(function, before).numpy()
                jacobian[rows, (t - 1) * size : t * size] = -(np.diag(np.diag(block)) if diagonal else block)
        guess = guess - np.linalg.solve(jacobian, residual).reshape(steps, size)


@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diagonal"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_iterate_is_that_of_a_plain_newton_method(cell, diagonal):
    recurrence = random_layer(cell, 4, 20, gain=0.7)
    first = start(recurrence)
    expected = islice(plain_newton(recurrence, first, diagonal), 7)
    for found, plain in zip(iterates(recurrence, first, diagonal), expected, strict=False):
        assert found.damped == 0
        np.testing.assert_allclose(found.states[:, 0], plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diagonal"])
@pytest.mark.parametrize("cell", CELLS)
def test_it_ends_at_the_states_of_one_step_after_the_other(cell, diagonal):
    recurrence = random_layer(cell, 5, 60, gain=0.8, batch=3)
    first = start(recurrence)
    solution = solve(recurrence, first, 1e-13, diagonal=diagonal)
    assert solution.converged
    torch.testing.assert_close(solution.states, in_a_row(recurrence, first), rtol=0, atol=1e-11)


@pytest.mark.parametrize("cell", CELLS)
def test_jacobians_are_those_of_autograd(cell):
    recurrence = random_layer(cell, 17, 3, batch=2)  # wide enough for merged products
    before = start(recurrence).expand(3, -1, -1).contiguous()
    found = recurrence.jacobians(before, recurrence.apply(before))
    for t in range(3):
        step = recurrence.part(t, t + 1)
        for b in range(2):
            one = type(step)(step.cell, step.weights, step.inputs[:, b : b + 1])
            expected = torch.autograd.functional.jacobian(
                lambda s, one=one: one.apply(s.view(1, 1, -1)).flatten(), before[t, b]
            )
            torch.testing.assert_close(found[t, b], expected, rtol=1e-12, atol=1e-12)


def test_a_linear_recurrence_takes_one_iteration():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(6, 6, generator=generator, dtype=torch.float64) / 6**0.5
    x = torch.randn(500, 2, 6, generator=generator, dtype=torch.float64)
    recurrence = StepRecurrence(lambda x, s: x + 0.9 * s @ matrix, x, [torch.Size((6,))], single=True)
    first = start(recurrence)
    solution = solve(recurrence, first, 1e-10)
    assert (solution.iterations, solution.converged) == (1, True)
    assert solve(recurrence, first, 1e-10, diagonal=True).iterations > 1


def test_a_diagonal_linear_recurrence_takes_one_iteration_with_diagonals_too():
    x = torch.randn(300, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    decay = torch.tensor([0.1, 0.5, 0.9, 0.99], dtype=torch.float64)
    recurrence = StepRecurrence(lambda x, s: x + decay * s, x, [torch.Size((4,))], single=True)
    assert solve(recurrence, start(recurrence), 1e-10, diagonal=True).iterations == 1


@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diagonal"])
@pytest.mark.parametrize("gain", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("cell", CELLS)
def test_never_more_iterations_than_steps_and_step_t_is_exact_after_t(cell, gain, diagonal):
    recurrence = random_layer(cell, 5, 40, gain=gain)
    first = start(recurrence)
    exact = in_a_row(recurrence, first)
    scale = max(1.0, float(exact.abs().max()))
    for guess in islice(iterates(recurrence, first, diagonal), 41):
        known = slice(0, guess.number)
        torch.testing.assert_close(guess.states[known], exact[known], rtol=1e-9, atol=1e-12 * scale)
    assert solve(recurrence, first, 1e-9 * scale, diagonal=diagonal).iterations <= 40


def test_where_products_of_jacobians_overflow_the_iteration_is_damped_and_goes_on():
    recurrence = noisy_tanh(16, 40.0, 900)  # 2.5 nats a step and more
    first = torch.zeros(1, 16, dtype=torch.float64)
    guesses = islice(iterates(recurrence, first), 12)
    found = [(guess.damped > 0, bool(torch.isfinite(guess.states).all())) for guess in guesses]
    assert any(damped for damped, _ in found)
    assert all(finite for _, finite in found)


def test_a_limit_ends_it_and_says_that_it_did_not_converge():
    recurrence = noisy_tanh(16, 3.0, 100)
    solution = solve(recurrence, torch.zeros(1, 16, dtype=torch.float64), 1e-8, limit=4)
    assert (solution.iterations, solution.converged) == (4, False)
    assert len(solution.residuals) == 5


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.2])
def test_below_the_transition_iterations_do_not_grow_with_the_length(gain):
    counts = []
    for steps in (250, 500, 1000):
        recurrence = noisy_tanh(64, gain, steps)
        first = torch.zeros(1, 64, dtype=torch.float64)
        solution = solve(recurrence, first, 1e-8)
        counts.append(solution.iterations)
        assert float((solution.states - in_a_row(recurrence, first)).abs().max()) < 1e-8
    assert max(counts) - min(counts) <= 1
    assert max(counts) <= 20


def test_above_the_transition_iterations_grow_with_the_length():
    counts = []
    for steps in (100, 200, 400):
        recurrence = noisy_tanh(64, 2.0, steps)
        counts.append(solve(recurrence, torch.zeros(1, 64, dtype=torch.float64), 1e-8).iterations)
    assert counts[1] > 1.5 * counts[0]
    assert counts[2] > 1.5 * counts[1]


@pytest.mark.parametrize("cell", CELLS)
def test_diagonals_are_those_of_the_jacobians(cell):
    recurrence = random_layer(cell, 5, 12, gain=1.3, batch=3)
    before = 0.5 * torch.randn(12, 3, recurrence.size, dtype=torch.float64)
    after = recurrence.apply(before)
    expected = recurrence.jacobians(before, after).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(recurrence.diagonals(before, after), expected, rtol=1e-12, atol=1e-13)
