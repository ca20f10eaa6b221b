"""What the field knows exactly of spectra, and what it knows on average."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.gradients.test_flow_against_autograd import KINDS, make, sequence, states
from tests.gradients.test_references import scaled_permutation, zero_lstm
from tests.spectrum import oracle
from unrolled.spectrum import jacobian_singular_values, lyapunov_spectrum

# How near QR at every step comes to the truth, and how near the sparing way does, each relative to a sum.
INVERTIBLE = [kind for kind in KINDS if kind != "relu"]


def zeros(steps, size=1, batch=1, dtype=torch.float64):
    return torch.zeros(steps, batch, size, dtype=dtype)


# The sum of all exponents


@pytest.mark.parametrize("steps", [2, 60])
@pytest.mark.parametrize("layers", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("kind", INVERTIBLE)
def test_exponents_sum_to_the_mean_of_ln_det(kind, layers, steps):
    module, x = make(kind, **layers).requires_grad_(False), sequence(batch=2, steps=steps)
    start = states(module, batch=2)
    jacobians = oracle.jacobians(module, x, start)
    for qr_every in (1, "auto"):
        for part in lyapunov_spectrum(module, x, state=start, qr_every=qr_every):
            for sample, found in enumerate(part.sum):
                expected = oracle.mean_log_det(jacobians[part.system.name][sample])
                assert found == pytest.approx(expected, rel=1e-10), part.system.label


@pytest.mark.parametrize("qr_every", [1, "auto"])
@pytest.mark.parametrize(("cell", "size"), [(nn.RNN, 64), (nn.GRU, 64), (nn.LSTM, 40)])
def test_exponents_of_a_wide_spectrum_sum_to_the_mean_of_ln_det(cell, size, qr_every):
    """Large enough to be followed from both ends where a step can be inverted."""
    torch.manual_seed(0)
    module = cell(3, size, dtype=torch.float64).requires_grad_(False)
    x = torch.randn(60, 2, 3, dtype=torch.float64)
    expected = [oracle.mean_log_det(sample) for sample in oracle.jacobians(module, x)["l0"]]
    found = lyapunov_spectrum(module, x, qr_every=qr_every).part().sum
    assert found == pytest.approx(np.array(expected), rel=1e-10)


def test_exponents_of_an_active_relu_network_sum_to_ln_det_of_its_weights():
    """All slopes are 1, so `J_t = W`, whatever runs through."""
    torch.manual_seed(0)
    module = nn.RNN(3, 6, nonlinearity="relu", dtype=torch.float64).requires_grad_(False)
    module.weight_hh_l0.uniform_(0, 0.3)
    module.bias_ih_l0.fill_(20.0)
    module.bias_hh_l0.zero_()
    x = torch.randn(200, 2, 3, dtype=torch.float64)
    expected = float(torch.linalg.slogdet(module.weight_hh_l0)[1])
    found = lyapunov_spectrum(module, x, qr_every=1).part()
    assert found.sum == pytest.approx([expected] * 2, rel=1e-10)


# Fixed points


def rotation(modulus, angle):
    return modulus * torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64
    )


def planted():
    """A matrix with two complex pairs, that come back after 8 and after 4 steps, and three real eigenvalues."""
    eigenvalues = (rotation(0.95, math.pi / 4), rotation(0.6, math.pi / 2), 0.8, -0.3, 0.05)
    blocks = torch.block_diag(*(torch.as_tensor(one, dtype=torch.float64) for one in eigenvalues))
    noise = torch.randn(7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    basis = torch.eye(7, dtype=torch.float64) + 0.3 * noise
    return basis @ blocks @ torch.linalg.inv(basis)


@pytest.mark.parametrize("qr_every", [1, "auto"])
@pytest.mark.parametrize("start", ["at rest", "elsewhere"])
def test_exponents_at_a_fixed_point_are_log_moduli_of_eigenvalues(start, qr_every):
    """A pair of complex ones has the mean of its two over whole turns; 400 steps are 50 turns."""
    module = oracle.set_weights(nn.RNN(1, 7, dtype=torch.float64), weight_hh_l0=planted())
    state = torch.rand(1, 1, 7, dtype=torch.float64) if start == "elsewhere" else None
    found = lyapunov_spectrum(module, zeros(1200), state=state, warm_up=800, qr_every=qr_every).part()
    expected = np.log([0.95, 0.95, 0.8, 0.6, 0.6, 0.3, 0.05])
    np.testing.assert_allclose(found.values[0], expected, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_without_whole_turns_a_pair_still_has_the_right_sum(seed):
    torch.manual_seed(seed)
    weight = torch.randn(8, 8, dtype=torch.float64)
    weight *= 0.9 / torch.linalg.eigvals(weight).abs().max()
    module = oracle.set_weights(nn.RNN(1, 8, dtype=torch.float64), weight_hh_l0=weight)
    found = lyapunov_spectrum(module, zeros(2000), warm_up=1000).part().values[0].cumsum()
    moduli = torch.linalg.eigvals(weight).abs().log().sort(descending=True).values.numpy()
    expected, ends = moduli.cumsum(), np.flatnonzero(np.append(moduli[:-1] - moduli[1:] > 1e-9, True))
    np.testing.assert_allclose(found[ends], expected[ends], atol=1e-6)
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("qr_every", [1, "auto"])
@pytest.mark.parametrize(("cell", "gates"), [(nn.GRU, 3), (nn.LSTM, 4)])
def test_a_gated_cell_at_rest_has_the_eigenvalues_of_half_one_plus_a_quarter_u(cell, gates, qr_every):
    """U the weights of the gate that goes through tanh, symmetric here; an LSTM's h follows its c at once."""
    torch.manual_seed(0)
    size = 10
    inner = torch.randn(size, size, dtype=torch.float64) / math.sqrt(size)
    inner = inner + inner.T
    weight = torch.randn(gates * size, size, dtype=torch.float64)
    weight[2 * size : 3 * size] = inner
    module = oracle.set_weights(cell(2, size, dtype=torch.float64), weight_hh_l0=weight)
    jacobian = torch.eye(size, dtype=torch.float64) / 2 + inner / 4
    expected = torch.linalg.eigvalsh(jacobian).abs().log().sort(descending=True).values.numpy()
    found = lyapunov_spectrum(module, zeros(600, 2), warm_up=400, qr_every=qr_every).part().values[0]
    assert found[0] == pytest.approx(expected[0], abs=1e-10)
    np.testing.assert_allclose(found[:size], expected, atol=1e-6)
    assert np.isneginf(found[size:]).all()


@pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("seed", range(2))
def test_largest_exponent_of_a_gated_cell_at_rest(cell, seed):
    torch.manual_seed(seed)
    module = cell(2, 64, bias=False, dtype=torch.float64).requires_grad_(False)
    inner = module.weight_hh_l0[128:192]
    moduli = torch.linalg.eigvals(torch.eye(64) / 2 + inner / 4).abs().log().sort(descending=True).values
    found = lyapunov_spectrum(module, zeros(2000, 2), k=1, warm_up=500).part()
    assert found.largest[0] == pytest.approx(float(moduli[0]), abs=1e-3)


def test_torchs_default_weights_forget_at_the_rate_of_their_spectral_radius():
    """U(-1/√H, 1/√H) has variance 1/(3H): the circular law gives -½ ln 3, -0.549, as H grows."""
    torch.manual_seed(0)
    module = nn.RNN(3, 256, bias=False).requires_grad_(False)
    found = lyapunov_spectrum(module, zeros(2000, 3, dtype=torch.float32), k=2, warm_up=500).part()
    moduli = torch.linalg.eigvals(module.weight_hh_l0.double()).abs().log().sort(descending=True).values
    assert found.sum[0] == pytest.approx(float(moduli[:2].sum()), abs=1e-6)  # a complex pair
    assert found.largest[0] == pytest.approx(float(moduli[0]), abs=1e-4)
    assert found.largest[0] == pytest.approx(-0.5 * math.log(3), abs=0.06)


# Closed forms


@pytest.mark.parametrize("qr_every", [1, "auto", 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_all_exponents_of_a_scaled_permutation_are_ln_g(gain, dtype, qr_every):
    module = scaled_permutation(gain, dtype=dtype)
    ones = torch.ones(1, 1, 4, dtype=dtype)
    found = lyapunov_spectrum(module, zeros(1200, dtype=dtype), state=ones, qr_every=qr_every).part()
    np.testing.assert_allclose(found.values, math.log(gain), rtol=1e-12)
    np.testing.assert_allclose(found.running, math.log(gain), rtol=1e-12)


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_ten_thousand_jacobians_of_a_scaled_permutation_have_condition_1(gain):
    module, lags = scaled_permutation(gain), [1, 10, 999, 10000]
    ones = torch.ones(1, 1, 4, dtype=torch.float64)
    found = jacobian_singular_values(module, zeros(10000), lags, state=ones).part()
    for lag, values in zip(lags, found.log10, strict=True):
        np.testing.assert_allclose(values, math.log10(gain) * lag, rtol=1e-13)
    assert found.log10[-1, 0, 0] == pytest.approx(math.copysign(3010.29996, math.log(gain)), abs=5e-6)
    np.testing.assert_allclose(found.log10_condition, 0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_identity_relu_network_carries_everything_for_ever(dtype):
    torch.manual_seed(0)
    module = nn.RNN(3, 16, nonlinearity="relu", dtype=dtype).requires_grad_(False)
    nn.init.eye_(module.weight_hh_l0)
    for parameter in (module.weight_ih_l0, module.bias_ih_l0, module.bias_hh_l0):
        parameter.abs_()
    x = torch.rand(400, 3, 3, dtype=dtype)
    spectrum = lyapunov_spectrum(module, x).part()
    np.testing.assert_allclose(spectrum.values, 0, atol=1e-14)
    assert (spectrum.half_life == np.inf).all()
    assert spectrum.kaplan_yorke.tolist() == [16] * 3  # a count: all sums are 0 to `ROUNDING`
    singular = jacobian_singular_values(module, x, [1, 20, 400]).part()
    np.testing.assert_allclose(singular.log10, 0, atol=1e-12)
    assert (singular.carrying == 1).all()


@pytest.mark.parametrize("forget_bias", [math.log(0.9 / 0.1), math.log(3.0), math.log(30.0)])
def test_cell_states_of_a_zero_lstm_forget_at_the_rate_of_their_gate(forget_bias):
    """f = σ(bias), after Tallec and Ollivier u/(1 + u) for a bias of ln u; nothing comes back through U = 0."""
    module = zero_lstm(forget_bias, dtype=torch.float64).requires_grad_(False)
    gate = 1 / (1 + math.exp(-forget_bias))
    found = lyapunov_spectrum(module, zeros(1000, 2), warm_up=1).part()  # whose step drops what h has
    np.testing.assert_allclose(found.values[:, :8], math.log(gate), rtol=1e-12)
    assert np.isneginf(found.values[:, 8:]).all()
    assert found.half_life == pytest.approx(math.log(2) / -math.log(gate))
    values = jacobian_singular_values(module, zeros(1000, 2), [999]).part().log10
    # (h, c) at the end is c at the start times f^999, and half of that in h, as o = 1/2.
    np.testing.assert_allclose(values[0, 0, :8], 999 * math.log10(gate) + math.log10(1.25) / 2, rtol=1e-12)
    assert np.isneginf(values[0, 0, 8:]).all()


# On average


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "expected"), [(1.5, 0.065), (2.0, 0.155)])
def test_random_networks_of_800_units_are_chaotic_as_the_mean_field_says(gain, expected):
    """Sompolinsky, Crisanti, Sommers 1988; the mean over four networks."""
    found = []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        weight = gain / math.sqrt(800) * torch.randn(800, 800, generator=generator)
        module = oracle.set_weights(nn.RNN(1, 800), weight_hh_l0=weight)
        start = torch.rand(1, 1, 800, generator=generator)
        part = lyapunov_spectrum(module, zeros(500, dtype=torch.float32), state=start, k=1, warm_up=150).part()
        found.append(part.largest[0])
    assert np.mean(found) == pytest.approx(expected, abs=0.02)
    # Chaos makes of a last digit another trajectory: over 350 steps its exponent varies by 0.004.
    assert max(found) - min(found) < 0.03
