import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.rollout.scaled import Scaled, log2_rms, log2_total, power_of_two, shift

DTYPES = (torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_power_of_two_is_exact_over_the_whole_normal_range(dtype):
    last = 127 if dtype == torch.float32 else 1023
    exponents = torch.arange(1 - last, last + 1)
    assert power_of_two(exponents, dtype).tolist() == [2.0**e for e in range(1 - last, last + 1)]


def test_shift_reaches_where_the_factor_alone_overflows():
    tiny = torch.tensor([2.0**-100])
    assert shift(tiny, torch.tensor([200])).item() == 2.0**100
    assert torch.isinf(tiny * power_of_two(torch.tensor(200), torch.float64).float()).item()


@settings(deadline=None, max_examples=50)
@given(st.floats(0.5, 1), st.integers(-100_000, 100_000), st.integers(-100_000, 100_000))
def test_a_number_survives_any_number_of_rescalings(mantissa, first, second):
    number = Scaled(torch.tensor(mantissa, dtype=torch.float64), torch.tensor(first))
    there = number.scale(1.0, second - first).normalised().scale(1.0, first - second).normalised()
    assert (
        math.ldexp(there.mantissa.item(), int(there.exponent) - first) == mantissa
    )  # all factors powers of two


@settings(deadline=None, max_examples=50)
@given(st.integers(-100_000, 100_000))
def test_log2_of_a_power_of_two_is_exact(exponent):
    for dtype in DTYPES:
        number = Scaled(torch.tensor([0.0, 1.0, 0.0], dtype=dtype), torch.tensor(exponent))
        assert number.log2_norm().item() == exponent


def test_a_sum_keeps_the_larger_where_the_smaller_is_out_of_sight():
    huge = Scaled(torch.tensor([1.0, 3.0]), torch.tensor(5000))
    tiny = Scaled(torch.tensor([1.0, 3.0]), torch.tensor(-5000))
    for total in (huge + tiny, tiny + huge):
        assert total.at(torch.tensor(5000)).tolist() == [1.0, 3.0]


def test_a_sum_of_nearby_exponents_is_the_sum():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator)
    left = Scaled(one, torch.randint(-3, 3, (3, 4), generator=generator))
    right = Scaled(other, torch.randint(-3, 3, (3, 4), generator=generator))
    torch.testing.assert_close((left + right).value(), left.value() + right.value())


def test_a_zero_never_sets_the_exponent_of_a_sum():
    zero = Scaled(torch.zeros(2), torch.tensor(9000))
    small = Scaled(torch.ones(2), torch.tensor(-9000))
    assert (zero + small).log2_norm().item() == pytest.approx(-9000 + 0.5)
    assert (zero + zero).log2_norm().item() == -math.inf


def test_norms_near_1e20_do_not_overflow_in_float32():
    number = Scaled.of(torch.full((4,), 1e20))
    assert number.log2_norm().item() == pytest.approx(math.log2(2e20))


def test_totals_and_means_of_log_norms():
    """Exact where nothing but 2^0 = 1, its sums and log2(1) = 0 are computed."""
    assert log2_total([3.0]) == 3.0
    assert log2_total([]) == -math.inf
    assert log2_total([-9000.0, -9000.0]) == pytest.approx(-8999.5, rel=1e-15)
    assert log2_rms(np.array([[-5000.0, -5000.0]]))[0] == -5000.0
    assert log2_rms(np.array([[1.0, np.nan]]))[0] == 1.0
    assert log2_rms(np.array([[-np.inf, -np.inf]]))[0] == -np.inf
    assert log2_rms(np.array([[1.0, 3.0]]))[0] == pytest.approx(0.5 * math.log2((4 + 64) / 2))
