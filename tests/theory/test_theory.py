"""Mean fields, networks at rest and at fixed points, against what others found, closed forms and simulation."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.processes import python
from unrolled import theory
from unrolled.errors import UnrolledError
from unrolled.theory import random_network


def gaussian_network(gain, size, seed=0, input_variance=0.0):
    """h' = tanh(W h + u): W_ij ~ N(0, g²/N), one input feature per unit of the variance asked for."""
    generator = torch.Generator().manual_seed(seed)
    module = nn.RNN(size, size, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight_hh_l0.normal_(std=gain / math.sqrt(size), generator=generator)
        module.weight_ih_l0.copy_(math.sqrt(input_variance) * torch.eye(size))
    return module


def largest_exponent(weight, input_deviation, warm_up=100, steps=300):
    """A simulation written out by hand: one state, one tangent, normalised at every step."""
    generator = torch.Generator().manual_seed(1)
    h, tangent, total = (torch.randn(len(weight), generator=generator) for _ in range(2)), None, 0.0
    h, tangent = h
    for t in range(warm_up + steps):
        noise = input_deviation * torch.randn(len(weight), generator=generator)
        h = torch.tanh(weight @ h + noise)
        tangent = (1 - h**2) * (weight @ tangent)
        norm = float(tangent.norm())
        tangent /= norm
        total += math.log(norm) if t >= warm_up else 0.0
    return total / steps


# Mean fields


@pytest.mark.parametrize(("gain", "exponent"), [(1.5, 0.065), (2.0, 0.155)])
def test_mean_field_exponents_are_those_of_sompolinsky_crisanti_and_sommers_in_discrete_time(gain, exponent):
    assert theory.mean_field(gain).exponent == pytest.approx(exponent, abs=5e-4)


@pytest.mark.parametrize("gain", [0.01, 0.5, 1.0])
def test_up_to_the_transition_the_network_is_silent_and_its_exponent_is_ln_g(gain):
    found = theory.mean_field(gain)
    assert found.variance == 0  # set, not computed
    assert found.exponent == pytest.approx(math.log(gain), abs=1e-12)
    assert not found.is_chaotic


def test_above_the_transition_activity_and_chaos_set_in_continuously():
    """Expanding in ε = g - 1: Δ = ε and λ₁ = ε² to leading order."""
    for epsilon in (1e-2, 1e-3, 1e-4):
        found = theory.mean_field(1 + epsilon)
        assert found.variance == pytest.approx(epsilon, rel=5 * epsilon)
        assert 0 < found.exponent < 2 * epsilon**2


def mean(function, deviation):
    """`E[f(s z)]`, z ~ N(0, 1), of an even function, by Gauss and Legendre between points where f or z changes."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    ends = sorted({0.0, 10.0, *(x for x in np.arange(1, 10.0)), *(x / deviation for x in np.arange(1, 40.0))})
    ends = [end for end in ends if end <= 10]
    total = 0.0
    for left, right in pairwise(ends):
        z = left + (right - left) * (nodes + 1) / 2
        total += (right - left) / 2 * (weights @ (np.exp(-(z**2) / 2) * function(deviation * z)))
    return 2 * total / math.sqrt(2 * math.pi)


def sech(x):
    return 1 / np.cosh(np.minimum(x, 300))


SIZES = [
    (0.3, 1e-6),
    (1.01, 0),
    (2, 0),
    (0.3, 0.5),
    (3, 4),
    (50, 0.01),
    (100, 0.5),
    (1e5, 0),
    (2, 1e6),
    (1e6, 1e6),
]


@pytest.mark.parametrize(("gain", "input_variance"), SIZES)
def test_variance_and_exponent_are_those_of_an_independent_quadrature(gain, input_variance):
    """From the transition to gains where tanh is a sign; both sums take some hundred roundings."""
    found = theory.mean_field(gain, input_variance)
    deviation = math.sqrt(found.variance)
    summed = gain**2 * mean(lambda x: np.tanh(x) ** 2, deviation) + input_variance
    assert summed == pytest.approx(found.variance, rel=1e-12)
    slope = gain**2 * mean(lambda x: sech(x) ** 4, deviation)
    assert found.exponent == pytest.approx(0.5 * math.log(slope), abs=1e-12)


@pytest.mark.parametrize("gain", [1e4, 1e6])
def test_a_large_gain_makes_a_sign_of_tanh(gain):
    """Δ → g² - g √(2/π), as E[tanh²] = 1 - 2 / √(2πΔ); E[sech⁴] = 4/3 / √(2πΔ). Left out is 1/Δ of each."""
    found = theory.mean_field(gain)
    assert found.variance == pytest.approx(gain**2 - 2 * gain / math.sqrt(2 * math.pi), rel=2 / gain**2)
    slope = gain**2 * 4 / 3 / math.sqrt(2 * math.pi * found.variance)
    assert found.exponent == pytest.approx(0.5 * math.log(slope), abs=2 / gain**2 + 1e-12)


def test_mean_fields_are_bisections_of_a_sum_of_fixed_length_whatever_the_gain(monkeypatch):
    """At most 2200 halvings lie between any two floats, and one sum has as many points as another."""
    sums = []
    whole = random_network._mean_square_tanh
    monkeypatch.setattr(random_network, "_mean_square_tanh", lambda v: sums.append(v) or whole(v))
    for gain in (1e-300, 1e-6, 0.5, 1 + 1e-12, 100, 1e5, 1e6, 1e100):
        for input_variance in (0, 1e-320, 0.5, 1e6, 1e100):
            sums.clear()
            assert math.isfinite(theory.mean_field(gain, input_variance).exponent)
            assert len(sums) < 2200
    assert math.isfinite(theory.transition_gain(1e6))


@pytest.mark.slow
@pytest.mark.parametrize(
    "order",
    [
        "from unrolled.theory import mean_field",
        "import unrolled.theory.random_network; from unrolled.theory import mean_field",
        "import unrolled; mean_field = unrolled.theory.mean_field",
        "from unrolled import theory; mean_field = theory.mean_field",
    ],
)
def test_the_mean_field_is_a_function_in_every_order_of_imports(order):
    assert python("-c", f"{order}; mean_field(2.0).exponent").returncode == 0


@given(st.floats(0.05, 20), st.floats(1.001, 3), st.floats(0, 5))
@settings(max_examples=40, deadline=None)
def test_more_gain_means_a_larger_exponent_whatever_the_input(gain, factor, input_variance):
    less, more = (theory.mean_field(g, input_variance) for g in (gain, gain * factor))
    assert less.exponent < more.exponent - 1e-9  # at least 6e-7 apart, where the transition is between them
    assert less.variance <= more.variance * (1 + 1e-12) + 1e-300


@given(st.floats(0.05, 20), st.floats(0, 5), st.floats(0.01, 5))
@settings(max_examples=40, deadline=None)
def test_more_noise_means_a_smaller_exponent_whatever_the_gain(gain, input_variance, more):
    """Molgedey, Schuchhardt, Schuster 1992: noise suppresses chaos."""
    quiet, loud = (theory.mean_field(gain, variance) for variance in (input_variance, input_variance + more))
    assert quiet.exponent > loud.exponent + 1e-9  # at least 3e-6 apart
    assert quiet.variance < loud.variance - 1e-3


def test_the_transition_is_at_gain_1_without_input_and_later_with_it():
    assert theory.transition_gain() == 1  # set, not computed
    gains = [theory.transition_gain(variance) for variance in (1e-3, 0.1, 1.0)]
    assert np.diff([1, *gains]).min() > 0.05
    for gain, variance in zip(gains, (1e-3, 0.1, 1.0), strict=True):
        assert theory.mean_field(gain, variance).exponent == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("gain", "input_variance"), [(1.5, 0.0), (2.0, 0.0), (0.8, 0.5), (2.0, 0.5)])
def test_a_simulated_network_of_800_units_has_the_exponent_of_the_mean_field(gain, input_variance):
    weight = gain / math.sqrt(800) * torch.randn(800, 800, generator=torch.Generator().manual_seed(3))
    found = largest_exponent(weight, math.sqrt(input_variance))
    assert found == pytest.approx(
        theory.mean_field(gain, input_variance).exponent, abs=0.02
    )  # chaos makes another trajectory of it on another machine: 0.007 apart


def test_the_mean_field_of_a_module_is_that_of_its_weights():
    module = gaussian_network(1.7, 400, input_variance=0.3)
    quiet, noisy = theory.mean_field_of(module), theory.mean_field_of(module, 1.0)
    assert quiet.gain == pytest.approx(1.7, rel=0.01)
    assert quiet.input_variance == 0  # 0 times something
    assert noisy.input_variance == pytest.approx(0.3)
    again = theory.mean_field(noisy.gain, noisy.input_variance)
    assert (noisy.variance, noisy.exponent) == pytest.approx((again.variance, again.exponent), rel=1e-12)


def test_default_biases_are_an_input_that_stays():
    torch.manual_seed(0)
    found = theory.mean_field_of(nn.RNN(12, 1000), 1.0)
    assert found.gain == pytest.approx(theory.DEFAULT_GAIN, rel=0.01)
    assert found.input_variance == pytest.approx((12 + 2) / 3000, rel=0.1)  # U(-1/√H, 1/√H): 1/3H each


# At rest


def biasless(cell, size=256, layers=1, seed=0, **options):
    torch.manual_seed(seed)
    return cell(3, size, layers, bias=False, dtype=torch.float64, **options)


@pytest.mark.parametrize(
    ("cell", "name", "limit"),
    [
        (nn.RNN, "rnn_tanh", -0.5 * math.log(3)),
        (nn.GRU, "gru", math.log(0.5 + 1 / (4 * math.sqrt(3)))),
        (nn.LSTM, "lstm", math.log(0.5 + 1 / (4 * math.sqrt(3)))),
    ],
)
def test_torchs_own_initialisation_approaches_the_circular_law(cell, name, limit):
    assert theory.exponent_at_rest(name) == pytest.approx(limit, abs=1e-12)
    found = theory.exponents_at_rest(biasless(cell))
    assert found[0] == pytest.approx(limit, abs=0.1)  # the largest of 256 eigenvalues is beyond the disc's rim
    assert (np.diff(found[np.isfinite(found)]) <= 0).all()  # sorted
    assert np.isneginf(found).sum() == (256 if cell is nn.LSTM else 0)


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("layers", [1, 2])
def test_exponents_at_rest_are_those_of_autograds_jacobian_there(cell, layers):
    module = biasless(cell, size=12, layers=layers)
    whole = theory.exponents_at_fixed_point(module)
    each = [theory.exponents_at_rest(module, layer) for layer in range(layers)]
    together = np.sort(np.concatenate(each))[::-1]  # block triangular: the union of the layers'
    finite = np.isfinite(together)
    # The state stands still to 1e-13, and eigenvalues of such matrices multiply that by 100 or so.
    assert whole[finite] == pytest.approx(together[finite], abs=1e-10)
    assert (whole[~finite] < -15).all()  # ln of rounding, or of its root: a zero may be a double one
    for layer, expected in enumerate(each):
        own = theory.exponents_at_fixed_point(module, layer=layer)
        assert own[np.isfinite(expected)] == pytest.approx(expected[np.isfinite(expected)], abs=1e-10)


def test_a_projection_goes_between_the_gates_and_the_state():
    module = biasless(nn.LSTM, size=10, proj_size=4)
    at_rest, by_autograd = theory.exponents_at_rest(module), theory.exponents_at_fixed_point(module)
    assert len(at_rest) == 14
    # Six of them are the same ½; an eigenvalue that is so many times there is good to the root of a rounding.
    assert by_autograd[:10] == pytest.approx(at_rest[:10], abs=1e-7)


def test_a_reverse_direction_has_weights_of_its_own():
    module = biasless(nn.GRU, size=8, bidirectional=True)
    forward, reverse = (theory.exponents_at_rest(module, 0, way) for way in ("forward", "reverse"))
    assert not np.allclose(forward, reverse)
    copy = biasless(nn.GRU, size=8)
    with torch.no_grad():
        copy.weight_hh_l0.copy_(module.weight_hh_l0_reverse)
    assert reverse == pytest.approx(theory.exponents_at_rest(copy))


# At a fixed point


def test_biases_move_the_fixed_point_and_its_exponents():
    """One unit: h* = tanh(w h* + b), λ = ln |w (1 - h*²)|."""
    module = nn.RNN(1, 1, dtype=torch.float64)
    with torch.no_grad():
        module.weight_hh_l0.fill_(0.8)
        module.bias_ih_l0.fill_(0.5)
        module.bias_hh_l0.zero_()
        module.weight_ih_l0.fill_(2.0)
    for x in (0.0, 0.3):
        h = 0.0
        for _ in range(500):
            h = math.tanh(0.8 * h + 0.5 + 2 * x)
        found = theory.exponents_at_fixed_point(module, torch.tensor([x], dtype=torch.float64))
        assert found == pytest.approx([math.log(0.8 * (1 - h**2))], abs=1e-12)


def test_a_cycle_and_chaos_have_no_fixed_point():
    cycle = nn.RNN(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        cycle.weight_hh_l0.fill_(-2.0)
    assert theory.exponents_at_fixed_point(cycle) is None
    assert theory.exponents_at_fixed_point(gaussian_network(3.0, 40)) is None


def test_a_fixed_point_that_repels_is_not_taken_for_one_that_attracts():
    module = nn.RNN(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight_hh_l0.fill_(2.0)  # 0 repels with ln 2
    h = 0.9575040240772687  # tanh(2h) = h
    assert theory.exponents_at_fixed_point(module) == pytest.approx([math.log(2 * (1 - h**2))], abs=1e-9)


def test_the_module_is_left_as_it_was():
    torch.manual_seed(0)
    module = nn.LSTM(3, 5, batch_first=True)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    theory.exponents_at_fixed_point(module)
    assert module.batch_first
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


# What is refused


def with_nan():
    module = nn.RNN(2, 3)
    with torch.no_grad():
        module.weight_hh_l0[0, 0] = math.nan
    return module


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.mean_field(0.0), r"gain: .*got 0\.0"),
        (lambda: theory.mean_field(math.nan), r"gain: .*got nan\b"),
        (lambda: theory.mean_field(1e200), r"gain: .*got 1e\+200\b"),
        (lambda: theory.mean_field("2"), r"gain: .*got '2'"),
        (lambda: theory.mean_field(1.0, -1.0), r"input_variance: .*got -1\.0"),
        (lambda: theory.transition_gain(-1.0), r"input_variance: .*got -1\.0"),
        (lambda: theory.transition_gain(math.inf), r"input_variance: .*got inf\b"),
        (lambda: theory.mean_field_of(nn.LSTM(2, 3)), r"module: .*got LSTM\b"),
        (lambda: theory.mean_field_of(nn.RNN(2, 3, nonlinearity="relu")), r"module: .*got RNN_RELU\b"),
        (lambda: theory.mean_field_of(nn.RNN(2, 3, 2)), r"module: .*got 2 layers\b"),
        (lambda: theory.mean_field_of(with_nan()), r"module: .*NaN.* weight_hh_l0\b"),
        (lambda: theory.exponent_at_rest("rnn_relu"), "cell: .*'rnn_relu'"),
        (lambda: theory.exponent_at_rest("gru", 0.0), r"gain: .*got 0\.0"),
        (lambda: theory.exponents_at_rest(nn.RNN(2, 3, nonlinearity="relu")), r"module: .*rnn_relu"),
        (lambda: theory.exponents_at_rest(nn.Linear(2, 3)), r"module: .*got Linear\b"),
        (lambda: theory.exponents_at_rest(nn.GRU(2, 3), 1), r"layer: .*got 1\b"),
        (lambda: theory.exponents_at_rest(nn.GRU(2, 3), 0, "reverse"), "layer: .*got 0, 'reverse'"),
        (lambda: theory.exponents_at_rest(with_nan()), r"module: .*NaN.* weight_hh\b"),
        (lambda: theory.exponents_at_fixed_point(nn.Linear(2, 3)), r"module: .*got Linear\b"),
        (
            lambda: theory.exponents_at_fixed_point(nn.GRU(2, 3, bidirectional=True)),
            "module: .*bidirectional=True",
        ),
        (lambda: theory.exponents_at_fixed_point(nn.GRU(2, 3), torch.ones(3)), r"inputs: .*\(2,\).*got \(3,\)"),
        (lambda: theory.exponents_at_fixed_point(nn.GRU(2, 3), layer=1), r"layer: .*got 1\b"),
        (lambda: theory.exponents_at_fixed_point(with_nan()), r"module: .*NaN.* weight_hh_l0\b"),
    ],
)
def test_what_a_theory_does_not_cover_is_refused_in_one_line(call, message):
    with pytest.raises(UnrolledError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
