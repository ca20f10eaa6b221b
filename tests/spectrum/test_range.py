"""Far outside what float64 can hold, and where directions are lost for good."""

import math

import mpmath
import numpy as np
import pytest
import torch
from torch import nn

from tests.spectrum import oracle
from unrolled.gradients import NonFiniteError
from unrolled.rollout import layer
from unrolled.spectrum import (
    jacobian_singular_values,
    lyapunov_spectrum,
    step_jacobian_singular_values,
    step_lyapunov_spectrum,
)

LN_2, LN_10 = math.log(2), math.log(10)
SHEAR = torch.tensor([[1, 0, 0], [1, 1, 0], [-1, 2, 1]], dtype=torch.float64)


def wide(*values):
    return torch.tensor(values, dtype=torch.float64)


def held(weight):
    """relu with a bias that keeps a state of ones where it is, exactly for dyadic weights: `J_t = W`."""
    size = len(weight)
    module = nn.RNN(1, size, nonlinearity="relu", dtype=torch.float64)
    return oracle.set_weights(module, weight_hh_l0=weight, bias_ih_l0=1 - weight.sum(1))


def spectrum_of(weight, steps, **options):
    x, start = torch.zeros(steps, 1, 1).double(), torch.ones(1, 1, len(weight)).double()
    return lyapunov_spectrum(held(weight), x, state=start, **options).part()


def step_of(x, state):
    """A step whose state stays at 0, with the Jacobian that comes in as its input."""
    return torch.sin(state) @ x[0].T


def given(jacobians):
    """The input and the state for `step_of`, from Jacobians `(T, n, n)`."""
    return jacobians[:, None], torch.zeros(1, jacobians.shape[-1], dtype=torch.float64)


def sheared(powers):
    """Eigenvalues of powers of two, with eigenvectors that are not at right angles, in exact numbers."""
    return SHEAR @ torch.diag(2.0 ** wide(*powers)) @ torch.linalg.inv(SHEAR)


# Singular values and exponents that no float64 holds


def test_a_singular_value_of_10_to_the_minus_3000_beside_one_of_10_to_the_100():
    """`W^k = S diag(2^(a k)) S⁻¹`, in as many digits as it takes."""
    powers, lags = (1, -10, -30), [1, 7, 100, 332]
    weight = sheared(powers)
    x, start = torch.zeros(340, 1, 1).double(), torch.ones(1, 1, 3).double()
    found = jacobian_singular_values(held(weight), x, lags, state=start).part().log10
    with mpmath.workdps(3300):
        shear = mpmath.matrix(SHEAR.tolist())
        for lag, values in zip(lags, found[:, 0], strict=True):
            scales = mpmath.diag([mpmath.mpf(2) ** (power * lag) for power in powers])
            singular = mpmath.svd_r(shear * scales * shear**-1, compute_uv=False)
            np.testing.assert_allclose(values, [float(mpmath.log10(one)) for one in singular], atol=1e-8 * lag)
    assert found[-1, 0, 0] == pytest.approx(100, abs=1)
    assert found[-1, 0, -1] == pytest.approx(-3000, abs=2)


@pytest.mark.parametrize("qr_every", ["auto", 1])
def test_exponents_that_no_product_of_jacobians_holds(qr_every):
    found = spectrum_of(sheared((1, -10, -20)), 3000, warm_up=100, qr_every=qr_every)
    np.testing.assert_allclose(found.values[0] / LN_2, [1, -10, -20], atol=1e-6)


@pytest.mark.parametrize("powers", [(30, 0, -30), (20, -15, -30), (1, -30, -30), (40, 40, 30)])
def test_rows_of_very_different_size_keep_their_exponents(powers):
    """Units a factor 2^60 apart in a single step: each row of a Jacobian is as exact as its own entries."""
    weight = torch.diag(2.0 ** wide(*powers))
    found = spectrum_of(weight, 400, warm_up=50)
    np.testing.assert_allclose(found.values[0] / LN_2, powers, atol=1e-9)


@pytest.mark.parametrize("scale", [100, 290, -290])
@pytest.mark.parametrize("qr_every", ["auto", 1])
def test_a_gain_of_10_to_the_290_a_step_adds_its_logarithm(scale, qr_every):
    generator = torch.Generator().manual_seed(0)
    ordinary = torch.randn(40, 4, 4, generator=generator, dtype=torch.float64)
    found = step_lyapunov_spectrum(step_of, *given(10.0**scale * ordinary), qr_every=qr_every).part().values[0]
    expected = np.sort(oracle.exponents(ordinary)[-1].numpy() / 40)[::-1]
    np.testing.assert_allclose(found - scale * LN_10, expected, atol=1e-9)


def test_a_hundred_decades_either_way_in_each_step():
    jacobians = torch.diag(wide(1e100, 1.0, 1e-100)).repeat(50, 1, 1)
    found = step_lyapunov_spectrum(step_of, *given(jacobians), warm_up=10).part().values[0]
    np.testing.assert_allclose(found / LN_10, [100, 0, -100], atol=1e-9)
    values = step_jacobian_singular_values(step_of, *given(jacobians), [1, 50]).part().log10[:, 0]
    np.testing.assert_allclose(values, [[100, 0, -100], [5000, 0, -5000]], atol=1e-9)


def test_gains_that_change_by_hundreds_of_decades_on_the_way():
    """The interval between factorisations has to shrink at once."""
    generator = torch.Generator().manual_seed(0)
    ordinary = torch.randn(200, 3, 3, generator=generator, dtype=torch.float64)
    decades = torch.zeros(200).double()
    decades[90:100], decades[140:145] = 150, -200
    found = step_lyapunov_spectrum(step_of, *given(10.0 ** decades[:, None, None] * ordinary)).part()
    expected = np.sort(oracle.exponents(ordinary)[-1].numpy() / 200)[::-1] + LN_10 * 500 / 200
    np.testing.assert_allclose(found.values[0], expected, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_trajectories_in_float32_have_spectra_beyond_it(dtype):
    torch.manual_seed(0)
    module, x = nn.RNN(4, 16, dtype=dtype), torch.randn(900, 2, 4).to(dtype)
    spectrum = lyapunov_spectrum(module, x).part()
    values = jacobian_singular_values(module, x, [900]).part()
    assert (values.log10[0, :, 0] < -200).all()
    assert (values.log10[0, :, -1] < -600).all()
    # The sum of both is the same, that of ln |det J_t|.
    np.testing.assert_allclose(values.log10[0].sum(-1) * LN_10 / 900, spectrum.sum, rtol=1e-6)


# Directions that are lost


def active_relu(size=8):
    """Every unit on, by a large bias; `x[t, b, i]` below -100 turns unit i off."""
    torch.manual_seed(0)
    module = nn.RNN(size, size, nonlinearity="relu", dtype=torch.float64)
    weight = torch.empty(size, size, dtype=torch.float64).uniform_(0, 0.2)
    return oracle.set_weights(
        module, weight_hh_l0=weight, bias_ih_l0=torch.full((size,), 20.0), weight_ih_l0=torch.eye(size)
    )


def noise(steps, batch=2, size=8):
    return torch.randn(steps, batch, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("qr_every", [1, 5, "auto"])
@pytest.mark.parametrize("dead", [1, 3, 7, 8])
def test_as_many_exponents_of_minus_infinity_as_dead_units(dead, qr_every):
    module, x = active_relu(), noise(200)
    x[..., :dead] = -1000
    found = lyapunov_spectrum(module, x, qr_every=qr_every, warm_up=100).part().values
    assert np.isneginf(found[:, 8 - dead :]).all()
    assert np.isfinite(found[:, : 8 - dead]).all()
    rest = torch.linalg.eigvals(module.weight_hh_l0[dead:, dead:]).abs().log()
    np.testing.assert_allclose(found[:, : 8 - dead].sum(1), float(rest.sum()), rtol=1e-6)


@pytest.mark.parametrize("qr_every", [1, 5, "auto"])
def test_units_that_die_in_one_sample_alone_cost_that_sample_alone(qr_every):
    module, x = active_relu(), noise(120, batch=3)
    x[..., 1, :4] = -1000
    found = lyapunov_spectrum(module, x, qr_every=qr_every).part().values
    assert np.isneginf(found).sum(1).tolist() == [0, 4, 0]
    x = x[:, [0, 2]]
    np.testing.assert_allclose(found[[0, 2]], lyapunov_spectrum(module, x, qr_every=1).part().values, atol=1e-6)


@pytest.mark.parametrize("qr_every", [1, 5, "auto"])
def test_what_one_step_drops_stays_lost_but_what_the_warm_up_drops_does_not_count(qr_every):
    module, x = active_relu(), noise(200)
    x[50, :, :2] = -1000
    for warm_up, lost in ((0, 2), (50, 2), (51, 0), (100, 0)):
        found = lyapunov_spectrum(module, x, qr_every=qr_every, warm_up=warm_up).part()
        assert np.isneginf(found.values).sum(1).tolist() == [lost] * 2
    assert np.isfinite(lyapunov_spectrum(module, x, qr_every=qr_every, k=6).part().values).all()


@pytest.mark.parametrize("qr_every", [1, "auto"])
def test_directions_that_the_warm_up_loses_regain_their_exponents(qr_every):
    """They come back as the smallest of a wide spectrum, and as aligned as if they had never been lost."""
    module, x = active_relu(), noise(320)
    rates = wide(0.9, 0.8, 0.7, 0.6, 0.1, 0.05, 0.02, 0.01)
    basis = torch.eye(8).double() + 0.2 * torch.randn(8, 8, generator=torch.Generator().manual_seed(3)).double()
    module.weight_hh_l0.copy_(basis @ torch.diag(rates) @ torch.linalg.inv(basis))
    module.bias_ih_l0.copy_(20 - 20 * module.weight_hh_l0.sum(1))  # the state is around 20
    x[5, :, :4] = -1000
    assert (module(x[6:], module(x[:6])[1])[0][20:] > 0).all()
    found = lyapunov_spectrum(module, x, warm_up=120, qr_every=qr_every).part().values
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, [rates.log().numpy()] * 2, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), float(rates.log().sum()), atol=1e-6)


@pytest.mark.parametrize("warm_up", [0, 600])
def test_units_that_die_do_not_cost_a_factorisation_at_every_step_from_then_on(warm_up):
    """A row of zeros that has just become one leaves 0/0, which says nothing about how fast others collapse."""
    module, x = active_relu(), noise(2000)
    x[500:, :, :3] = -1000
    x[800:, :, 5] = -1000
    part = lyapunov_spectrum(module, x, warm_up=warm_up).part()
    assert np.isneginf(part.values).sum(1).tolist() == [4, 4]
    assert part.every > 2


def test_a_dropped_direction_is_not_taken_for_a_small_one():
    """Among few vectors that have come close to each other before, one less may leave but a rounding error."""
    followed = 0
    for seed in range(200):
        torch.manual_seed(seed)
        weight = torch.randn(4, 4).double() * (0.15 + 0.15 * (seed % 3))
        if seed % 2:
            weight = 0.8 * torch.linalg.qr(torch.randn(4, 4).double())[0] + 0.1 * weight
        module = oracle.set_weights(
            nn.RNN(4, 4, nonlinearity="relu").double(),
            weight_hh_l0=weight,
            weight_ih_l0=torch.eye(4),
            bias_ih_l0=torch.full((4,), 30),
            bias_hh_l0=torch.zeros(4),
        )
        x = torch.randn(60, 1, 4).double()
        x[20 + seed % 7, 0, 0] = -1e4
        if int((module(x)[0] == 0).sum()) == 1:
            followed += 1
            values = lyapunov_spectrum(module, x).part().values[0]
            assert np.isneginf(values).tolist() == [False, False, False, True], f"seed {seed}"
    assert followed > 50


def test_running_estimates_are_minus_infinity_from_the_step_on_that_drops_a_direction():
    module, x = active_relu(), noise(200)
    x[130, 0, 0] = -1000
    part = lyapunov_spectrum(module, x).part()
    lost = np.isneginf(part.running)
    assert (lost[:, 0, -1] == (part.times > 130)).all()
    assert not lost[..., :-1].any()
    assert not lost[:, 1].any()


def test_singular_values_of_0_are_those_of_lags_that_hold_the_dead_step():
    module, x = active_relu(), noise(200)
    x[120, :, :2] = -1000
    found = jacobian_singular_values(module, x, [1, 79, 80, 81, 200]).part()
    assert np.isneginf(found.log10).sum(-1).tolist() == [[0, 0], [0, 0], [2, 2], [2, 2], [2, 2]]
    assert np.isinf(found.log10_condition).tolist() == [[False] * 2] * 2 + [[True] * 2] * 3
    expected = np.log10(np.linalg.svd(oracle.product(oracle.jacobians(module, x)["l0"][0][120:]))[1][0])
    assert found.log10[2, 0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("qr_every", [1, "auto"])
@pytest.mark.parametrize("exact", [True, False], ids=["in integers", "to rounding"])
def test_weights_of_rank_r_leave_r_directions(exact, qr_every):
    torch.manual_seed(0)
    left, right = torch.randint(-3, 4, (6, 3)).double(), torch.randint(-3, 4, (3, 6)).double()
    if not exact:
        left, right = left + torch.randn(6, 3).double(), right + torch.randn(3, 6).double()
    module = oracle.set_weights(
        nn.RNN(2, 6, dtype=torch.float64), weight_hh_l0=left @ right / 16, weight_ih_l0=torch.randn(6, 2)
    )
    x = torch.randn(300, 2, 2, dtype=torch.float64)
    found = lyapunov_spectrum(module, x, qr_every=qr_every).part().values
    assert np.isneginf(found[:, 3:]).all()
    for sample, steps in enumerate(oracle.jacobians(module, x)["l0"]):
        expected = oracle.exponents(steps)[-1, :3].sort(descending=True).values.numpy() / 300
        np.testing.assert_allclose(found[sample, :3], expected, atol=1e-6)
    values = jacobian_singular_values(module, x, [1, 2, 300]).part().log10
    # What the three lost directions have left after a step is rounding: 0, or some 1e-16 of the rest, as it
    # falls out. One of many steps is sure to see that it is nothing.
    assert (values[..., 3:] < values[..., 2:3] - 10).all()
    assert np.isneginf(values[-1, :, 3:]).all()
    assert np.isfinite(values[..., :3]).all()


@pytest.mark.parametrize("qr_every", [1, "auto"])
def test_a_saturated_tanh_has_a_slope_of_exactly_0(qr_every):
    torch.manual_seed(0)
    module = nn.RNN(4, 4, bias=False, dtype=torch.float64).requires_grad_(False)
    nn.init.eye_(module.weight_ih_l0)
    x = torch.randn(100, 2, 4, dtype=torch.float64)
    x[40, 0, 2] = 60
    found = lyapunov_spectrum(module, x, qr_every=qr_every).part()
    assert np.isneginf(found.values).sum(1).tolist() == [1, 0]
    assert np.isnan(found.spread[-1])
    gone = lyapunov_spectrum(module, torch.full_like(x, 60), qr_every=qr_every).part()
    assert np.isneginf(gone.values).all()
    assert gone.kaplan_yorke.tolist() == gone.entropy_rate.tolist() == gone.half_life.tolist() == [0, 0]
    values = jacobian_singular_values(module, torch.full_like(x, 60), [1, 100]).part()
    assert np.isneginf(values.log10).all()
    assert np.isnan(values.log10_condition).all()
    assert (values.carrying == 0).all()


def test_a_tanh_that_is_nearly_saturated_has_the_exponents_of_its_small_slopes():
    """Units on their own: the mean of ln |w (1 - h²)|, with slopes of 1e-14 and less."""
    rates = wide(0.9, 0.5, -0.7)
    module = oracle.set_weights(
        nn.RNN(3, 3, dtype=torch.float64), weight_hh_l0=torch.diag(rates), weight_ih_l0=torch.eye(3)
    )
    x = noise(300, size=3) * wide(1.0, 3.0, 4.0)
    states = module(x)[0]
    slopes = 1 - states * states
    assert 0 < float(slopes.min()) < 1e-7
    expected = (rates.abs() * slopes).log().mean(0).sort(descending=True).values
    found = lyapunov_spectrum(module, x).part().values
    # A state that is off by a rounding, ε, makes a slope off by 2ε, which is much of a small one.
    near = (4 * torch.finfo(torch.float64).eps / slopes).mean(0).sum(1)
    assert (near < 1e-6).all()
    assert (abs(found.sum(1) - expected.sum(1).numpy()) < near.numpy() + 1e-9).all()
    np.testing.assert_allclose(found, expected, atol=0.1)  # directions have to find their units


# A step that overflows


def overflowing_gru(size=16):
    """h stays 0; at x = 1 the update gate is shut, `J = 1`; at x = -1 both gates are open, `J = U_n`."""
    shut = torch.cat((torch.full((size, 1), -50.0), torch.full((size, 1), 50.0), torch.zeros(size, 1)))
    huge = torch.cat((torch.zeros(2 * size, size), torch.ones(size, size))).double() * 1.7e308
    return oracle.set_weights(nn.GRU(1, size, dtype=torch.float64), weight_ih_l0=shut, weight_hh_l0=huge)


@pytest.mark.parametrize("fewest", [64, 5])
@pytest.mark.parametrize("qr_every", ["auto", 1, 4])
def test_a_single_step_that_overflows_is_named(monkeypatch, qr_every, fewest):
    monkeypatch.setattr("unrolled.observed.call.FEWEST_STEPS", fewest)
    monkeypatch.setattr(layer, "BLOCK_NUMBERS", 1)
    module, x = overflowing_gru(), torch.ones(40, 2, 1).double()
    assert lyapunov_spectrum(module, x, qr_every=qr_every).part().values == pytest.approx(0, abs=1e-12)
    x[23, 1] = -1
    message = r"Jacobian of GRU\.l0, .*inf.* step 23\b"
    with pytest.raises(NonFiniteError, match=message) as raised:
        lyapunov_spectrum(module, x, qr_every=qr_every)
    assert (raised.value.module, raised.value.layer, raised.value.step) == ("GRU", 0, 23)
    with pytest.raises(NonFiniteError, match=message):
        jacobian_singular_values(module, x, [30])
    assert jacobian_singular_values(module, x, [16]).part().log10 == pytest.approx(0, abs=1e-12)


def test_a_step_of_somebody_elses_that_overflows_is_named():
    jacobians = torch.eye(4).double().repeat(20, 1, 1)
    jacobians[13] = 1.7e308
    for call in (step_lyapunov_spectrum, lambda *given: step_jacobian_singular_values(*given, [1, 20])):
        with pytest.raises(NonFiniteError, match=r"Jacobian of step\.l0, .*inf.* step 13\b") as raised:
            call(step_of, *given(jacobians))
        assert (raised.value.module, raised.value.layer, raised.value.step) == ("step", 0, 13)


def test_states_that_overflow_are_named_with_their_step():
    """4^511 is the last power that float64 holds; all powers of two are exact."""
    weight = 4 * torch.eye(2).double()
    module = oracle.set_weights(nn.RNN(1, 2, nonlinearity="relu", dtype=torch.float64), weight_hh_l0=weight)
    x, start = torch.zeros(900, 1, 1).double(), torch.ones(1, 1, 2).double()
    found = lyapunov_spectrum(module, x[:511], state=start).part()
    np.testing.assert_allclose(found.values, math.log(4))
    with pytest.raises(NonFiniteError, match=r"inf in 'RNN', layer 0") as raised:
        lyapunov_spectrum(module, x, state=start)
    assert raised.value.step == 511
