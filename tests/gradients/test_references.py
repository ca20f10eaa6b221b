"""Exact results of the field that a correct tool reproduces."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from unrolled.gradients import gradient_flow
from unrolled.theory import gradient_bound


def first_unit_at_the_end(result):
    return result[0][-1, :, 0].sum()


def scaled_permutation(gain, size=4, dtype=torch.float64):
    """relu, W_hh = g P, bias 1 - g, no input: a state of ones stays exactly where it is."""
    module = nn.RNN(1, size, nonlinearity="relu", dtype=dtype)
    with torch.no_grad():
        module.weight_ih_l0.zero_()
        module.weight_hh_l0.copy_(gain * torch.eye(size).roll(1, 0))
        module.bias_ih_l0.fill_(1 - gain)
        module.bias_hh_l0.zero_()
    return module


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_gradient_of_a_scaled_permutation_changes_by_exactly_g_per_step(gain, dtype):
    """To the last bit, as g is a power of two and one unit at a time has a gradient: nothing is rounded."""
    module = scaled_permutation(gain, dtype=dtype)
    flow = gradient_flow(
        module,
        torch.zeros(10001, 1, 1, dtype=dtype),
        first_unit_at_the_end,
        state=torch.ones(1, 1, 4, dtype=dtype),
    )
    profile = flow.profile(path="h")
    assert (profile.log2_norm == math.log2(gain) * np.arange(10001)).all()
    assert profile.log2_norm[10000] == math.log2(gain) * 10000
    assert profile.relative(10000) == pytest.approx(math.log10(gain) * 10000, abs=1e-9)
    assert profile.verdict.decades_per_step == pytest.approx(math.log10(gain), abs=1e-12)


def test_parameter_gradients_of_10_to_the_3000_are_reported():
    module = scaled_permutation(2.0)
    flow = gradient_flow(
        module,
        torch.zeros(10001, 1, 1, dtype=torch.float64),
        first_unit_at_the_end,
        state=torch.ones(1, 1, 4).double(),
    )
    # The bias gradient sums g^k over the lags k = 0 to 10000, spread over four units in turn.
    by_unit = [sum(2 ** (k - 10000) for k in range(10000 - unit, max(0, 9900), -4)) for unit in range(4)]
    assert flow.parameters["bias_ih_l0"] == pytest.approx(
        10000 * math.log10(2) + math.log10(math.hypot(*by_unit)), abs=1e-9
    )
    assert torch.isinf(flow.gradient("bias_ih_l0")).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identity_relu_network_holds_the_norm_bit_for_bit(dtype):
    torch.manual_seed(0)
    module = nn.RNN(3, 16, nonlinearity="relu", dtype=dtype)
    nn.init.eye_(module.weight_hh_l0)
    with torch.no_grad():
        module.weight_ih_l0.abs_()
        module.bias_ih_l0.abs_()
        module.bias_hh_l0.abs_()
    x = torch.rand(300, 4, 3, dtype=dtype)
    # Sixteen ones of each sample, times 1 and added to zeros: norms of 4, whatever the order.
    profile = gradient_flow(module, x, lambda result: result[0][-1].sum()).profile()
    assert (profile.samples == 2).all()
    assert profile.verdict.word == "steady"
    assert profile.verdict.half_life == math.inf
    # Of other gradients the norm is rounded: sixteen squares, their sum and a root.
    held = gradient_flow(module, x).profile()
    np.testing.assert_allclose(held.samples, 0, rtol=0, atol=16 * torch.finfo(dtype).eps)
    assert held.verdict.word == "steady"


def zero_lstm(forget_bias, size=8, dtype=torch.float32):
    module = nn.LSTM(2, size, dtype=dtype)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        module.bias_ih_l0[size : 2 * size] = forget_bias
    return module


def test_cell_state_of_a_zero_lstm_decays_by_its_forget_gate():
    module = zero_lstm(math.log(0.9 / 0.1))
    flow = gradient_flow(module, torch.zeros(1000, 2, 2))
    cell = flow.profile(path="c")
    assert cell.relative(999) == pytest.approx(999 * math.log10(0.9), abs=1e-3)
    assert cell.relative(999) == pytest.approx(-45.71, abs=5e-3)
    hidden = flow.profile(path="h")  # nothing comes back through U = 0
    assert hidden.log2_norm[0] == pytest.approx(0, abs=1e-6)
    assert (hidden.log2_norm[1:] == -np.inf).all()


def test_plain_float32_autograd_underflows_to_a_silent_zero_there():
    module = zero_lstm(math.log(0.9 / 0.1))
    c0 = torch.zeros(1, 1, 8, requires_grad=True)
    module(torch.zeros(1000, 1, 2), (torch.zeros(1, 1, 8), c0))[0][-1].sum().backward()
    assert c0.grad.abs().max() < 1e-44  # 0.9 times 4 of the least numbers there are rounds to 4 of them
    state = (torch.zeros(1, 1, 8), torch.zeros(1, 1, 8))
    flow = gradient_flow(module, torch.zeros(1000, 1, 2), lambda r: r[0][-1].sum(), state=state)
    assert flow.profile(path="c").log10_norm[-1] < -45


@pytest.mark.parametrize("u", [3.0, 30.0])
def test_chrono_bias_gives_an_e_folding_time_of_u_plus_a_half(u):
    cell = gradient_flow(zero_lstm(math.log(u), dtype=torch.float64), torch.zeros(100, 1, 2).double()).profile(
        path="c"
    )
    per_step = cell.verdict.decades_per_step
    assert per_step == pytest.approx(math.log10(u / (1 + u)), rel=1e-9)
    assert -1 / (per_step * math.log(10)) == pytest.approx(u + 0.5, rel=0.02)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("gain", [0.3, 1.0, 3.0])
def test_norm_at_lag_k_is_at_most_sigma_max_to_the_k(gain, nonlinearity):
    torch.manual_seed(1)
    module = nn.RNN(4, 20, nonlinearity=nonlinearity, dtype=torch.float64)
    with torch.no_grad():
        module.weight_hh_l0.mul_(gain)
    profile = gradient_flow(module, torch.randn(40, 5, 4, dtype=torch.float64)).profile()
    bound = gradient_bound(module)
    allowed = bound.log10(np.arange(40))[:, None] + (profile.samples[0] * math.log10(2))[None, :]
    assert (profile.samples * math.log10(2) <= allowed + 1e-9).all()
    assert bound.must_vanish == (bound.sigma_max < 1)  # the stored value, 0.07 or more from 1


def test_bound_is_reached_by_a_scaled_permutation():
    bound = gradient_bound(scaled_permutation(0.5))
    assert bound.rate == pytest.approx(0.5)
    assert bound.log10(np.array([0, 10])).tolist() == pytest.approx([0, 10 * math.log10(0.5)])


def test_spectral_radius_alone_misjudges_a_non_normal_matrix():
    module = nn.RNN(1, 2, nonlinearity="relu", dtype=torch.float64)
    with torch.no_grad():
        module.weight_ih_l0.fill_(1.0)
        module.weight_hh_l0.copy_(torch.tensor([[0.5, 100.0], [0.0, 0.5]]))
    bound = gradient_bound(module)
    assert bound.spectral_radius == pytest.approx(0.5)
    assert bound.sigma_max > 100
    profile = gradient_flow(module, torch.ones(60, 1, 1).double(), first_unit_at_the_end).profile()
    assert profile.log10_norm.max() > profile.log10_norm[0] + 1.5  # it grows first
    assert profile.log10_norm[-1] < profile.log10_norm[0]  # and decays then
    assert profile.verdict.word == "mixed"


def test_gradient_of_the_output_tensor_is_only_the_direct_part():
    torch.manual_seed(0)
    module, x = nn.LSTM(3, 6, dtype=torch.float64), torch.randn(20, 2, 3, dtype=torch.float64)
    output, _ = module(x)
    output.retain_grad()
    output[-1].sum().backward()
    assert (output.grad[:-1] == 0).all()
    assert (gradient_flow(module, x, lambda result: result[0][-1].sum()).profile().log2_norm > -80).all()
