"""Every system of every cell, on a drive that changes on the way, against products of autograd's Jacobians.

The drive grows and turns, so no two Jacobians are alike: a product in the wrong order, a state that is left
out, a gate in the wrong place or a sample mixed up with another would all be seen.
"""

import copy
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from tests.gradients.helpers import cell_step, weights_of
from tests.gradients.test_flow_against_autograd import INPUT, KINDS, make, states
from tests.spectrum import oracle
from unrolled.spectrum import (
    jacobian_singular_values,
    lyapunov_spectrum,
    step_jacobian_singular_values,
    step_lyapunov_spectrum,
)

T, B, LAGS = 14, 2, [1, 2, 7, 14]
OPTIONS = {
    "plain": {},
    "no bias": {"bias": False},
    "both ways": {"bidirectional": True},
    "stack": {"num_layers": 2},
    "deep stack": {"num_layers": 3},
    "stack both ways": {"num_layers": 2, "bidirectional": True},
}
INVERTIBLE = [kind for kind in KINDS if kind != "relu"]


def driven(steps=T, batch=B):
    """Noise that grows from 0.2 to 2, about a mean that goes from one side to the other."""
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(steps, batch, INPUT, generator=generator, dtype=torch.float64)
    along = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None, None]
    return (0.2 + 1.8 * along) * noise + 1.5 * (along - 0.5)


def network(kind, name):
    """A module, its input, its first state, and its Jacobians by name of the system."""
    module, *others = _network(kind, name)
    return copy.deepcopy(module), *others


@cache
def _network(kind, name):
    module = make(kind, **OPTIONS[name]).requires_grad_(False)
    if kind == "relu" and module.bias:  # most units are on, so that something is left after all steps
        for parameter_name, parameter in module.named_parameters():
            parameter.add_(1.0 if "bias_ih" in parameter_name else 0)
    x, start = driven(), states(module, batch=B)
    return module, x, start, oracle.jacobians(module, x, start)


def log10_svd(matrix):
    with np.errstate(divide="ignore"):
        return np.log10(np.linalg.svd(matrix.numpy(), compute_uv=False))


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_singular_values_are_those_of_the_product(kind, name):
    module, x, start, jacobians = network(kind, name)
    record = jacobian_singular_values(module, x, LAGS, state=start)
    assert [part.system.name for part in record] == sorted(jacobians, key=lambda n: (n == "stack", n))
    for part in record:
        for sample, steps in enumerate(jacobians[part.system.name]):
            for lag, found in zip(LAGS, part.log10[:, sample], strict=True):
                expected = log10_svd(oracle.product(steps[T - lag :]))
                clear = expected > expected[0] - 7  # what float64 knows of the others is rounding
                np.testing.assert_allclose(found[clear], expected[clear], atol=1e-7, err_msg=part.system.label)
                assert (found[~clear] <= expected[0] - 6.9).all()


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", INVERTIBLE)
def test_small_singular_values_are_the_reciprocals_of_those_of_the_inverse(kind, name):
    module, x, start, jacobians = network(kind, name)
    for part in jacobian_singular_values(module, x, LAGS, state=start):
        for sample, steps in enumerate(jacobians[part.system.name]):
            for lag, found in zip(LAGS, part.log10[:, sample], strict=True):
                backwards = oracle.product(torch.linalg.inv(steps[T - lag :]).flip(0))
                expected = -log10_svd(backwards)[::-1]
                clear = expected < expected[-1] + 5
                np.testing.assert_allclose(found[clear], expected[clear], atol=1e-5, err_msg=part.system.label)


@pytest.mark.parametrize("qr_every", [1, "auto"])
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", INVERTIBLE)
def test_exponents_are_those_of_qr_at_every_step_of_the_product(kind, name, qr_every):
    module, x, start, jacobians = network(kind, name)
    for warm_up in (0, 5):
        record = lyapunov_spectrum(module, x, state=start, warm_up=warm_up, qr_every=qr_every)
        for part in record:
            for sample, steps in enumerate(jacobians[part.system.name]):
                expected = oracle.exponents(steps, warm_up)[-1] / (T - warm_up)
                expected = expected.sort(descending=True).values.numpy()
                np.testing.assert_allclose(
                    part.values[sample], expected, atol=1e-6, err_msg=f"{part.system.label}, {warm_up}"
                )


@pytest.mark.parametrize("qr_every", [1, "auto"])
@pytest.mark.parametrize("name", ["plain", "no bias", "both ways", "stack both ways"])
def test_exponents_of_a_relu_network_are_those_of_what_is_not_lost(name, qr_every):
    module, x, start, jacobians = network("relu", name)
    lost = 0
    for part in lyapunov_spectrum(module, x, state=start, qr_every=qr_every):
        for sample, steps in enumerate(jacobians[part.system.name]):
            rank = int(torch.linalg.matrix_rank(oracle.product(steps), rtol=1e-13))
            found = part.values[sample]
            assert np.isneginf(found).sum() == 5 - rank
            expected = oracle.exponents(steps)[-1, :rank].sort(descending=True).values.numpy() / T
            np.testing.assert_allclose(found[:rank], expected, atol=1e-8)
            lost += 5 - rank
    assert lost > 0


# That these tests can fail


@pytest.mark.parametrize("name", ["plain", "both ways", "stack"])
@pytest.mark.parametrize("kind", INVERTIBLE)
def test_a_product_in_the_wrong_order_would_be_seen(kind, name):
    module, x, start, jacobians = network(kind, name)
    for part in jacobian_singular_values(module, x, LAGS, state=start):
        for sample, steps in enumerate(jacobians[part.system.name]):
            for lag, found in list(zip(LAGS, part.log10[:, sample], strict=True))[1:]:
                wrong = log10_svd(oracle.product(steps[T - lag :].flip(0)))
                early = log10_svd(oracle.product(steps[:lag]))
                assert abs(found[0] - wrong[0]) > 1e-4
                assert lag == T or abs(found[0] - early[0]) > 1e-4


@pytest.mark.parametrize("kind", ["lstm", "lstm-projected"])
def test_a_cell_state_left_out_would_be_seen(kind):
    module, x, start, jacobians = network(kind, "plain")
    found = jacobian_singular_values(module, x, LAGS, state=start).part()
    size = module.proj_size or module.hidden_size
    assert found.system.size == size + module.hidden_size
    for sample, steps in enumerate(jacobians["l0"]):
        for lag, values in zip(LAGS, found.log10[:, sample], strict=True):
            assert abs(values[0] - log10_svd(oracle.product(steps[T - lag :, :size, :size]))[0]) > 1e-4
            assert abs(values[0] - log10_svd(oracle.product(steps[T - lag :, size:, size:]))[0]) > 1e-4


# A cell that somebody else wrote


def as_step(module, start):
    """The module's first layer as a function of one step, and the state it starts from."""
    weights, pair = weights_of(module, 0, "forward"), isinstance(start, tuple)

    def step(x_t, state):
        after = cell_step(module, weights, x_t, state if pair else (state,))
        return after if pair else after[0]

    return step, tuple(part[0] for part in start) if pair else start[0]


@pytest.mark.parametrize("qr_every", [1, "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_k_of_somebody_elses_cell_is_that_of_the_module(kind, qr_every):
    module, x, start, _ = network(kind, "plain")
    step, first = as_step(module, start)
    size = lyapunov_spectrum(module, x, state=start).part().k
    for k in range(1, size + 1):
        expected = lyapunov_spectrum(module, x, state=start, k=k, warm_up=3, qr_every=qr_every).part()
        found = step_lyapunov_spectrum(step, x, first, k=k, warm_up=3, qr_every=qr_every).part()
        assert found.values.shape == (B, k)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-7)
        assert found.times.tolist() == expected.times.tolist()
    expected = jacobian_singular_values(module, x, LAGS, state=start).part()
    np.testing.assert_allclose(
        step_jacobian_singular_values(step, x, first, LAGS).part().log10, expected.log10, atol=1e-6
    )


def test_a_state_of_any_shape_is_a_flat_one():
    module, x, start, _ = network("gru", "plain")
    step, first = as_step(module, start)
    square = lambda h: h.reshape(-1, 5, 1)  # noqa: E731
    flat = lambda h: h.reshape(-1, 5)  # noqa: E731
    halves = lambda h: (h[:, :2], h[:, 2:])  # noqa: E731
    expected = step_lyapunov_spectrum(step, x, first).part()
    for other, state in (
        (lambda x_t, h: square(step(x_t, flat(h))), square(first)),
        (lambda x_t, pair: halves(step(x_t, torch.cat(pair, dim=1))), halves(first)),
    ):
        np.testing.assert_allclose(
            step_lyapunov_spectrum(other, x, state).part().values, expected.values, atol=1e-9
        )


@pytest.mark.parametrize(
    ("cell", "module"), [(nn.RNNCell, nn.RNN), (nn.GRUCell, nn.GRU), (nn.LSTMCell, nn.LSTM)]
)
def test_torchs_own_cells_are_step_functions(cell, module):
    torch.manual_seed(0)
    whole, one, x = module(INPUT, 5, dtype=torch.float64), cell(INPUT, 5, dtype=torch.float64), driven()
    with torch.no_grad():
        for mine, its in zip(one.parameters(), whole.parameters(), strict=True):
            mine.copy_(its)
    zeros = torch.zeros(B, 5, dtype=torch.float64)
    found = step_lyapunov_spectrum(one, x, (zeros, zeros) if cell is nn.LSTMCell else zeros).part()
    np.testing.assert_allclose(found.values, lyapunov_spectrum(whole, x).part().values, atol=1e-7)


def test_a_step_in_float32_has_a_spectrum_in_float32():
    module, x, start, _ = network("gru", "plain")
    step, first = as_step(module, start)
    expected = step_lyapunov_spectrum(step, x, first, warm_up=4).part()
    step, _ = as_step(module.float(), start)
    found = step_lyapunov_spectrum(step, x.float(), first.float(), warm_up=4)
    assert found.facts["step"].dtype == "float32"
    np.testing.assert_allclose(found.part().values, expected.values, atol=2e-3)


# On a GPU


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["plain", "stack", "stack both ways"])
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_agrees_with_the_cpu(kind, name):
    module, x, start, _ = network(kind, name)
    there = tuple(part.cuda() for part in start) if isinstance(start, tuple) else start.cuda()
    expected = lyapunov_spectrum(module, x, state=start, qr_every=1)
    values = jacobian_singular_values(module, x, [1, 3], state=start)
    module.cuda()
    found = lyapunov_spectrum(module, x.cuda(), state=there, qr_every=1)
    assert next(iter(found.facts.values())).device.startswith("cuda")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-8)
    for one, other in zip(jacobian_singular_values(module, x.cuda(), [1, 3], state=there), values, strict=True):
        np.testing.assert_allclose(one.log10, other.log10, atol=1e-8)
