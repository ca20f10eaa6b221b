"""Ratios, intervals and verdicts: against Monte Carlo, closed forms and properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.speed.statistics import (
    MIN_ROUNDS,
    RESOLUTION,
    Interval,
    _binomial_tail,
    median_interval,
    paired_ratio,
    verdict,
)


@pytest.mark.parametrize(("n", "p", "at_least"), [(9, 0.5, 8), (20, 0.1, 3), (101, 0.4, 60), (7, 0.3, 0)])
def test_binomial_tail_is_the_sum_of_its_terms(n, p, at_least):
    exact = sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(at_least, n + 1))
    # log(n!) is up to 364 here; rounding it, three times, is a relative error of 1e-13 in its exponential.
    assert _binomial_tail(n, p, at_least) == pytest.approx(exact, rel=5e-12)


@pytest.mark.parametrize("n", [51, 101, 301])
def test_interval_is_what_resampling_gives_without_the_resampling(n):
    rng = np.random.default_rng(n)
    values = np.sort(rng.lognormal(size=n))
    medians = np.median(rng.choice(values, size=(20_000, n)), axis=1)  # n is odd: each is one of the values
    simulated = np.searchsorted(values, np.quantile(medians, [0.005, 0.995]))
    exact = np.searchsorted(values, median_interval(values))
    assert np.abs(simulated - exact).max() <= 1  # one rank: the error of 20,000 resamples


@pytest.mark.parametrize("n", [MIN_ROUNDS, 15, 45, 151])
@pytest.mark.parametrize("draw", ["normal", "lognormal", "exponential"])
def test_interval_covers_the_true_median_99_times_in_100(n, draw):
    rng = np.random.default_rng(0)
    sample = {
        "normal": lambda *size: rng.normal(size=size),
        "lognormal": lambda *size: rng.lognormal(size=size) - 1,
        "exponential": lambda *size: rng.exponential(size=size) - math.log(2),
    }[draw]
    low, high = (int(rank) for rank in median_interval(np.arange(n, dtype=float)))
    one = sample(n)
    assert median_interval(one) == (np.sort(one)[low], np.sort(one)[high])  # of n values, always the same two
    ordered = np.sort(sample(20_000, n), axis=1)
    covered = np.mean((ordered[:, low] <= 0) & (ordered[:, high] >= 0))
    assert covered > 0.988  # 0.99 less 3 standard errors; one rank less at each end covers 0.984 of n = 151


def test_the_fewest_rounds_are_the_fewest_that_can_lose_an_outlier_at_each_end():
    def lost(n):
        return median_interval(np.arange(n, dtype=float)) != (0, n - 1)  # two of the values themselves

    assert lost(MIN_ROUNDS)
    assert not lost(MIN_ROUNDS - 2)
    assert MIN_ROUNDS % 2 == 1


def test_one_round_gone_wrong_does_not_widen_the_interval():
    values = np.linspace(-0.01, 0.01, MIN_ROUNDS)
    values[-1] = 50.0
    assert median_interval(values)[1] < 0.01


times = st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)), min_size=MIN_ROUNDS, max_size=60).map(
    lambda pairs: tuple(zip(*pairs, strict=True))
)


@settings(deadline=None)
@given(times, st.floats(1e-3, 1e3))
def test_a_ratio_does_not_depend_on_the_unit_of_time(both, scale):
    seconds, reference = np.array(both)
    one, other = paired_ratio(seconds, reference), paired_ratio(scale * seconds, scale * reference)
    assert (one.ratio, one.low, one.high) == pytest.approx((other.ratio, other.low, other.high))


@settings(deadline=None)
@given(times)
def test_exchanging_the_sides_inverts_the_ratio(both):
    seconds, reference = both
    one, other = paired_ratio(seconds, reference), paired_ratio(reference, seconds)
    assert (one.ratio, one.low, one.high) == pytest.approx((1 / other.ratio, 1 / other.high, 1 / other.low))
    assert one.low <= one.ratio * (1 + 1e-12)
    assert one.ratio <= one.high * (1 + 1e-12)


def test_a_drift_of_the_machine_that_hits_both_sides_cancels():
    drift = np.linspace(1, 5, 51)
    found = paired_ratio(1.7 * drift, drift)
    assert (found.ratio, found.low, found.high) == pytest.approx((1.7, 1.7, 1.7))


@pytest.mark.parametrize(
    ("interval", "floor", "expected"),
    [
        (Interval(1.5, 1.4, 1.6), 1.1, "slower"),
        (Interval(0.5, 0.45, 0.6), 1.1, "faster"),
        (Interval(1.2, 1.05, 1.3), 1.1, "unclear"),  # clears 1 but not the noise floor
        (Interval(0.85, 0.8, 0.95), 1.1, "unclear"),
        (Interval(1.0, 0.97, 1.04), 1.02, "same"),
        (Interval(1.0, 0.8, 1.2), 1.02, "unclear"),  # too wide to be called the same
        (Interval(1.02, 1.015, 1.025), 1.0, "slower"),
        (Interval(1.005, 1.002, 1.008), 1.0, "same"),  # below the resolution
    ],
)
def test_a_verdict_needs_the_interval_to_clear_one_and_the_noise_floor(interval, floor, expected):
    assert verdict(interval, floor) == expected


def test_noise_floor_is_the_largest_ratio_that_fused_against_itself_allows():
    assert Interval(1.0, 0.8, 1.1).noise_floor == pytest.approx(1.25)
    assert Interval(1.0, 0.95, 1.2).noise_floor == pytest.approx(1.2)
    assert Interval(1.0, 1.0, 1.0).noise_floor == RESOLUTION
