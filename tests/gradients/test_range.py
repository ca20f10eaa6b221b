"""Far outside what float32 and float64 can hold, and where the parts differ by more than that.

Rates are powers of two, so products and norms of one unit are exact, and so are their logarithms: what is
compared with `-np.arange(n)` may be compared to the last bit, on every machine.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.gradients.helpers import Loop, check_parameters, check_profiles, truth
from unrolled.gradients import gradient_flow
from unrolled.rollout import layer as track


def diagonal(rates, dtype=torch.float64):
    """relu with a diagonal W_hh and states held positive: one rate per unit."""
    size = len(rates)
    module = nn.RNN(size, size, nonlinearity="relu", dtype=dtype)
    with torch.no_grad():
        module.weight_ih_l0.copy_(torch.eye(size))
        module.weight_hh_l0.copy_(torch.diag(torch.tensor(rates)))
        module.bias_ih_l0.fill_(1.0)
        module.bias_hh_l0.zero_()
    return module


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_of_very_different_size_are_all_kept(dtype):
    module = diagonal([0.5], dtype)
    scale = torch.tensor([1e-30, 1.0, 1e30], dtype=dtype)
    x = torch.ones(3001, 3, 1, dtype=dtype)
    profile = gradient_flow(module, x, lambda result: (result[0][-1, :, 0] * scale).sum()).profile()
    expected = np.log2(scale.double().numpy())[None, :] - np.arange(3001)[:, None]
    np.testing.assert_allclose(profile.samples, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_direct_gradient_far_above_what_arrives_from_later_hides_nothing(dtype):
    module = diagonal([0.5], dtype)
    x = torch.ones(4001, 1, 1, dtype=dtype)
    profile = gradient_flow(module, x, lambda result: result[0][-1].sum() + result[0][1000].sum()).profile()
    # 2^-(lag) down to lag 2999; at step 1000, lag 3000, a fresh 1 starts again from there.
    assert (profile.log2_norm[:3000] == -np.arange(3000)).all()
    assert (profile.log2_norm[3000:] == -np.arange(1001)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_that_starts_in_the_middle_is_exactly_zero_after_it(dtype):
    module = diagonal([0.5], dtype)
    profile = gradient_flow(module, torch.ones(500, 1, 1, dtype=dtype), lambda r: r[0][249].sum()).profile()
    assert (profile.log2_norm[:250] == -np.inf).all()
    assert (profile.log2_norm[250:] == -np.arange(250)).all()


def test_a_dead_relu_ends_the_gradient_with_an_exact_zero():
    module = diagonal([0.5])
    x = torch.ones(400, 1, 1).double()
    x[200] = -9  # the unit is off at this step, whatever came before
    profile = gradient_flow(module, x, lambda r: r[0][-1].sum()).profile()
    assert np.isfinite(profile.log2_norm[:200]).all()
    assert profile.log2_norm[199] == -199
    assert (profile.log2_norm[200:] == -np.inf)[1:].all()
    assert profile.verdict.word == "vanishing"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_lower_layer_sees_the_vanished_gradient_of_the_upper_one(dtype):
    torch.manual_seed(0)
    module = nn.RNN(1, 1, num_layers=2, nonlinearity="relu", dtype=dtype)
    with torch.no_grad():
        for layer, rate in ((0, 2.0**-3), (1, 2.0**-1)):
            getattr(module, f"weight_ih_l{layer}").fill_(1.0)
            getattr(module, f"weight_hh_l{layer}").fill_(rate)
            getattr(module, f"bias_ih_l{layer}").fill_(1.0)
            getattr(module, f"bias_hh_l{layer}").fill_(0.0)
    flow = gradient_flow(module, torch.ones(3000, 1, 1, dtype=dtype), lambda r: r[0][-1].sum())
    lags = np.arange(3000)
    assert (flow.profile(layer=1).log2_norm == -lags).all()
    # a_k = 2^-k + a_(k-1) / 8 = 2^-k (1 + 1/4 + 1/16 + ...) -> 2^-k * 4/3
    np.testing.assert_allclose(
        flow.profile(layer=0).log2_norm[50:], -lags[50:] + math.log2(4 / 3), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("lengths", [None, [90, 4, 37]])
def test_blocks_and_strides_leave_no_seam(monkeypatch, make, lengths):
    monkeypatch.setattr(track, "BLOCK_NUMBERS", 3 * 5 * 16)  # blocks of 16 steps
    monkeypatch.setattr("unrolled.gradients.pullback.FIRST_STRIDE", 7)
    torch.manual_seed(0)
    module = make(4, 5, num_layers=2, bidirectional=True, dtype=torch.float64)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    x = torch.randn(90, 3, 4, dtype=torch.float64)
    inputs = x if lengths is None else nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    last = lambda result: result[1][0].cos().sum() if make is nn.LSTM else result[1].cos().sum()  # noqa: E731
    flow = gradient_flow(module, inputs, last)
    reference = truth(module)
    loop = Loop(reference)
    last(loop(x, lengths=lengths)).backward()
    check_profiles(flow, loop, rtol=1e-9)
    check_parameters(flow, reference, rtol=1e-9)


def test_float32_keeps_what_float64_knows_where_float32_autograd_gives_zero():
    torch.manual_seed(0)
    module = nn.RNN(4, 16)
    x = torch.randn(400, 2, 4)
    narrow = gradient_flow(module, x).profile()
    wide = gradient_flow(module.double(), x.double()).profile()
    assert wide.log10_norm[-1] < -60
    # A hundred roundings or so of float32, 6e-8 each, a step; but most of them cancel.
    np.testing.assert_allclose(narrow.log10_norm, wide.log10_norm, rtol=0, atol=4e-5)
    np.testing.assert_allclose(narrow.log10_norm[:40], wide.log10_norm[:40], rtol=0, atol=1e-5)


def test_bfloat16_follows_its_own_trajectory():
    torch.manual_seed(0)
    module, x = nn.GRU(4, 16), torch.randn(30, 2, 4)
    wide = gradient_flow(module, x).profile()
    narrow = gradient_flow(module.bfloat16(), x.bfloat16()).profile()
    # States are off by some of its roundings, 2^-8 each, at every step: 0.0017 decades.
    np.testing.assert_allclose(narrow.log10_norm, wide.log10_norm, rtol=0, atol=0.02)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM])
def test_cuda_agrees_with_the_cpu(make):
    torch.manual_seed(0)
    module = make(4, 8, num_layers=2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(30, 3, 4, dtype=torch.float64)
    here = gradient_flow(module, x)
    there = gradient_flow(module.cuda(), x.cuda())
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one.samples, other.samples, atol=1e-8)
