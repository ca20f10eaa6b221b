"""Exponents and singular values are those of products of `torch.func.jacrev` Jacobians, in float64."""

import numpy as np
import pytest
import torch

from tests.gradients.helpers import cell_step, weights_of
from tests.gradients.test_flow_against_autograd import KINDS, make, sequence, states
from tests.spectrum import oracle
from unrolled.spectrum import (
    jacobian_singular_values,
    lyapunov_spectrum,
    step_jacobian_singular_values,
    step_lyapunov_spectrum,
)

T, LAGS = 12, [1, 3, 12]


def by_sample(module, x, first):
    """The Jacobians `(T, n, n)` of all layers as one system, sample by sample."""
    return oracle.jacobians(module, x, first)["l0" if module.num_layers == 1 else "stack"]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_singular_values_are_those_of_autograds_jacobians(kind, layers):
    module, x = make(kind, num_layers=layers).requires_grad_(False), sequence(steps=T)
    found = jacobian_singular_values(module, x, LAGS, state=states(module)).part()
    for sample, steps in enumerate(by_sample(module, x, states(module))):
        for index, lag in enumerate(LAGS):
            expected = torch.linalg.svdvals(oracle.product(steps[T - lag :])).numpy()
            np.testing.assert_allclose(
                10 ** found.log10[index, sample], expected, atol=1e-8 * expected[0], rtol=0
            )
            backwards = torch.linalg.svdvals(oracle.product(steps[T - lag :].flip(0))).numpy()
            # The product in the wrong order would be seen, but for units that are on or off all the time.
            if lag > 1 and kind != "relu":
                assert abs(backwards - expected).max() > 1e-6 * expected[0]


@pytest.mark.parametrize("qr_every", ["auto", 1])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "relu"])
def test_exponents_are_those_of_autograds_jacobians_with_qr_at_every_step(kind, layers, qr_every):
    module, x = make(kind, num_layers=layers).requires_grad_(False), sequence(steps=T)
    found = lyapunov_spectrum(module, x, state=states(module), qr_every=qr_every).part()
    for sample, steps in enumerate(by_sample(module, x, states(module))):
        expected = (oracle.exponents(steps)[-1] / T).sort(descending=True).values.numpy()
        np.testing.assert_allclose(found.values[sample], expected, atol=1e-8)
        log_det = sum(torch.linalg.slogdet(jacobian)[1].item() for jacobian in steps) / T
        # Absolutely for QR at every step; else relative to what is a sum of up to thirty large numbers.
        assert found.sum[sample] == pytest.approx(log_det, abs=1e-10, rel=0 if qr_every == 1 else 1e-10)


@pytest.mark.parametrize("kind", ["tanh", "lstm"])
def test_both_sides_of_a_wide_spectrum_agree_with_qr_at_every_step(kind):
    torch.manual_seed(0)
    module = (torch.nn.RNN if kind == "tanh" else torch.nn.LSTM)(4, 50, dtype=torch.float64)
    x = sequence(batch=2, steps=150)
    found, expected = lyapunov_spectrum(module, x), lyapunov_spectrum(module, x, qr_every=1)
    np.testing.assert_allclose(found.part().values, expected.part().values, atol=1e-6)
    assert found.part().every > 1


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_a_cell_as_a_step_function_has_the_spectrum_of_the_module(kind):
    module, x, first = make(kind).requires_grad_(False), sequence(steps=T), states(make(kind))
    weights, pair = weights_of(module, 0, "forward"), isinstance(first, tuple)

    def step(x_t, state):
        after = cell_step(module, weights, x_t, state if pair else (state,))
        return after if pair else after[0]

    start = (first[0][0], first[1][0]) if pair else first[0]
    expected = lyapunov_spectrum(module, x, state=first).part()
    np.testing.assert_allclose(step_lyapunov_spectrum(step, x, start).part().values, expected.values, atol=1e-9)
    values = jacobian_singular_values(module, x, LAGS, state=first).part()
    found = step_jacobian_singular_values(step, x, start, LAGS).part()
    np.testing.assert_allclose(found.log10, values.log10, atol=1e-8)
