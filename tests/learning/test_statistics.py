"""Intervals against how often they hold, and ranks against what they are by definition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.learning.statistics import learned_by_most, median_of, rank_correlation, spearman

RANDOM = np.random.default_rng(5)


@pytest.mark.parametrize(
    ("learned", "value"),
    [([10] * 10, 10), ([0, 0, *[5] * 8], 5), ([0, 0, 0, *[5] * 7], 0), ([40, 5, 80, 80], 5), ([7], 7)],
)
def test_the_largest_delay_that_eight_of_ten_seeds_learned(learned, value):
    assert learned_by_most(learned).value == value
    assert sum(each >= value for each in learned) >= 0.8 * len(learned)


@pytest.mark.parametrize("seeds", [5, 10, 20, 40])
def test_the_interval_holds_the_delay_that_80_percent_of_all_seeds_learn_as_often_as_it_says(seeds):
    tries, holds = 4000, 0
    quantile = -math.log(0.8)  # of delays with an exponential distribution
    for row in RANDOM.exponential(size=(tries, seeds)):
        found = learned_by_most(row.tolist())
        holds += found.low <= quantile <= found.high
    sigma = math.sqrt(found.coverage * (1 - found.coverage) / tries)
    assert holds / tries == pytest.approx(found.coverage, abs=4 * sigma)
    assert found.coverage >= (0.95 if seeds >= 20 else 0.6)


def test_delays_on_a_grid_are_held_at_least_as_often():
    holds = 0
    for row in RANDOM.choice([5, 10, 20, 40], p=[0.1, 0.15, 0.5, 0.25], size=(4000, 10)):
        found = learned_by_most(row.tolist())
        holds += found.low <= 10 <= found.high
    assert holds / 4000 >= found.coverage


@pytest.mark.parametrize("count", [10, 30])
def test_the_interval_of_a_median_holds_it_in_99_of_100(count):
    held = [
        found.low <= 0 <= found.high for found in map(median_of, RANDOM.normal(size=(4000, count)).tolist())
    ]
    assert np.mean(held) >= 0.985
    assert median_of(RANDOM.normal(size=count).tolist()).coverage >= 0.99


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30))
def test_rank_correlation_is_the_correlation_of_mean_ranks(pairs):
    x, y = np.array(pairs, dtype=float).T

    def ranks(values):
        return [np.mean([k for k, other in enumerate(sorted(values), 1) if other == value]) for value in values]

    expected = float(torch.corrcoef(torch.tensor([ranks(x), ranks(y)], dtype=torch.float64))[0, 1])
    assert spearman(x, y) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_monotonic_is_1_and_its_reverse_minus_1():
    x = np.arange(1.0, 9.0)
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)
    assert math.isnan(spearman(x, np.ones(8)))


def test_many_seeds_of_two_networks_do_not_make_a_correlation_certain():
    two = [(np.full(10, 10.0), np.full(10, 5.0)), (np.full(10, 90.0), np.full(10, 80.0))]
    assert rank_correlation(two).value == pytest.approx(1)
    assert math.isnan(rank_correlation(two).low)
    assert math.isnan(rank_correlation([]).value)
    many = [(np.full(3, float(k)), np.full(3, float(k))) for k in range(8)]
    assert rank_correlation(many).low > 0.99
    unrelated = [(np.full(10, float(k % 3)), np.full(10, float(k // 3))) for k in range(9)]
    found = rank_correlation(unrelated)
    assert found.low < -0.4 < 0.4 < found.high
