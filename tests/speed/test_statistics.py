"""Ratios, intervals and verdicts: against Monte Carlo, closed forms and properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.speed.statistics import (
    CONFIDENCE,
    FEWEST_TO_FIT,
    MEDIAN_VARIANCE,
    MIN_ROUNDS,
    RESOLUTION,
    RUN,
    Drift,
    Estimate,
    Interval,
    Passes,
    _binomial_tail,
    estimated,
    median_interval,
    paired_ratio,
    student,
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


# Two-sided, at 95, 99 and 99.9 %: any table of Student's t distribution, such as Abramowitz and Stegun (1964), 26.10.
TABLE = {
    1: (12.706, 63.657, 636.619),
    2: (4.303, 9.925, 31.599),
    3: (3.182, 5.841, 12.924),
    4: (2.776, 4.604, 8.610),
    5: (2.571, 4.032, 6.869),
    10: (2.228, 3.169, 4.587),
    30: (2.042, 2.750, 3.646),
    120: (1.980, 2.617, 3.373),
    math.inf: (1.960, 2.576, 3.291),
}


@pytest.mark.parametrize("degrees", TABLE)
def test_student_is_what_tables_have(degrees):
    found = [student(degrees, confidence) for confidence in (0.95, 0.99, 0.999)]
    assert found == pytest.approx(TABLE[degrees], abs=5.1e-4, rel=1e-5)


@pytest.mark.parametrize("confidence", [0.5, CONFIDENCE, CONFIDENCE ** (1 / 200)])
@pytest.mark.parametrize("degrees", [2, 2.5, 4, 7.3, 20, 150.5])
def test_so_much_of_the_density_lies_within_a_quantile_of_student(degrees, confidence):
    def within(angle):  # t = sqrt(degrees) tan(angle), of whose density cos(angle)^(degrees - 1) is left
        angles = angle * (np.arange(20_000) + 0.5) / 20_000
        return angle * np.mean(np.cos(angles) ** (degrees - 1))

    outside = 1 - within(math.atan(student(degrees, confidence) / math.sqrt(degrees))) / within(math.pi / 2)
    assert outside == pytest.approx(1 - confidence, rel=2e-3)


def grid(rng, benchmarks=80, passes=5, tau=0.03, d0=6.0, within=0.0002):
    """Passes of a run that follow the model, and the log ratios they are around; variances of their rounds vary."""
    truths = rng.normal(size=benchmarks)
    known = within * rng.uniform(0.5, 2, size=benchmarks)
    spread = np.sqrt((tau**2 + known) * d0 / rng.chisquare(d0, size=benchmarks))

    def run():
        logs = truths[:, None] + spread[:, None] * rng.normal(size=(benchmarks, passes))
        return [Passes(tuple(map(float, row)), float(w)) for row, w in zip(logs, known, strict=True)]

    return truths, run


@pytest.mark.parametrize("passes", [3, 5])
def test_intervals_cover_the_truth_99_times_in_100_and_a_second_run_93_times(passes):
    rng = np.random.default_rng(passes)
    covered, held = [], []
    for _ in range(10):
        truths, run = grid(rng, passes=passes)
        one, two = run(), run()
        drift = Drift.fit(one)
        for truth, each, other in zip(truths, one, two, strict=True):
            interval = each.estimate(drift).interval
            covered.append(interval.low <= math.exp(truth) <= interval.high)
            held.append(interval.low <= math.exp(np.mean(other.logs)) <= interval.high)
    assert np.mean(covered) == pytest.approx(0.99, abs=0.011)  # 3 standard errors of 800
    # Both runs are off: P(|N(0, 2)| < 2.58) = 0.93, and a little more where Student's t is wider.
    assert np.mean(held) == pytest.approx(0.94, abs=0.027)


def test_drift_is_found_that_is_there():
    rng = np.random.default_rng(0)
    _, run = grid(rng, benchmarks=1000, tau=0.04, d0=8.0)
    found = Drift.fit(run())
    assert math.sqrt(found.variance) == pytest.approx(0.04, rel=0.1)
    assert found.degrees == pytest.approx(8, rel=0.4)
    _, run = grid(rng, benchmarks=1000, tau=0.0)
    assert math.sqrt(Drift.fit(run()).variance) < 0.005  # the rounds explain all, sqrt(0.0002) = 0.014


def test_drift_of_few_benchmarks_or_of_single_passes_is_not_known():
    rng = np.random.default_rng(0)
    _, run = grid(rng, benchmarks=FEWEST_TO_FIT - 1)
    assert Drift.fit(run()) == Drift(0, 0)
    _, run = grid(rng, passes=1)
    assert Drift.fit(run()) == Drift(0, 0)
    assert Drift.fit([]) == Drift(0, 0)
    _, run = grid(rng, benchmarks=FEWEST_TO_FIT)
    assert Drift.fit(run()).degrees > 0


def test_passes_have_the_medians_of_their_rounds_and_what_these_are_known_by():
    rng = np.random.default_rng(0)
    rounds = [200, 300]
    logs = np.concatenate([rng.normal(0.5, 0.1, size=200), rng.normal(0.7, 0.1, size=300)])
    found = Passes.of(logs, rounds)
    assert found.logs == (np.median(logs[:200]), np.median(logs[200:]))
    assert found.within == pytest.approx(MEDIAN_VARIANCE * 0.1**2 * (1 / 200 + 1 / 300) / 2, rel=0.15)
    assert found.between == pytest.approx((found.logs[1] - found.logs[0]) ** 2 / 2)


def test_a_benchmark_alone_has_the_t_interval_of_its_passes_and_never_less_than_its_rounds():
    logs = (0.1, 0.2, 0.4, 0.1)
    alone = Passes(logs, 1e-6).estimate(Drift())
    assert (alone.log, alone.degrees) == (pytest.approx(0.2), 3)
    assert alone.error == pytest.approx(np.std(logs, ddof=1) / 2)
    assert math.log(alone.interval.high / alone.interval.ratio) == pytest.approx(5.841 * alone.error, rel=1e-4)
    assert Passes((0.1, 0.1, 0.1, 0.1), 0.04).estimate(Drift()).error == pytest.approx(0.2 / 2)
    # Half of what is known is the benchmark's own, half that of all.
    shared = Passes(logs, 0.01).estimate(Drift(0.02, 3.0))
    assert shared.error**2 == pytest.approx((0.03 + np.var(logs, ddof=1)) / 2 / 4)
    assert shared.degrees == 6


def test_a_single_pass_keeps_the_width_of_the_interval_of_its_median():
    logs = np.random.default_rng(0).normal(size=31)
    found = estimated(logs, [31], Drift(0.1, 5.0))
    low, high = median_interval(logs)
    assert found.log == np.median(logs)
    assert math.log(found.interval.high / found.interval.low) == pytest.approx(high - low)


def test_a_difference_has_the_degrees_of_welch():
    one, two = Estimate(0.5, 0.3, 4), Estimate(0.2, 0.4, 9)
    found = one - two
    assert (found.log, found.error) == (pytest.approx(0.3), pytest.approx(0.5))
    assert found.degrees == pytest.approx(0.25**2 / (0.09**2 / 4 + 0.16**2 / 9))
    assert (one - one).degrees == pytest.approx(8)
    assert (one - Estimate(0.0, 0.0, 1)).degrees == pytest.approx(4)
    assert (Estimate(1.0, 0.0, 3) - Estimate(1.0, 0.0, 3)).interval == Interval(1, 1, 1)


def test_differences_of_means_of_unequal_spread_cover_the_truth():
    rng = np.random.default_rng(0)
    covered = []
    for few, many in zip(rng.normal(0, 1, size=(3000, 5)), rng.normal(0, 3, size=(3000, 12)), strict=True):
        found = Passes(tuple(few), 0.0).estimate(Drift()) - Passes(tuple(many), 0.0).estimate(Drift())
        covered.append(abs(found.log) <= student(found.degrees) * found.error)
    assert np.mean(covered) == pytest.approx(0.99, abs=0.006)  # 3 standard errors


def test_an_interval_holds_the_truth_though_a_whole_run_is_moved_and_another_run_as_exact_ones_do():
    rng = np.random.default_rng(0)
    truth, per_pass, passes = math.log(1.5), 0.01, 200

    def one_run():
        rounds = truth + rng.normal(0, RUN) + rng.normal(0, per_pass, size=passes)
        return Passes(tuple(rounds), 0.0).estimate(Drift()).in_any_run

    pairs = [(one_run(), one_run()) for _ in range(3000)]
    bounds = [(math.log(one.interval.low), other.log, math.log(one.interval.high)) for one, other in pairs]
    truths = np.mean([low <= truth <= high for low, _, high in bounds])
    assert truths == pytest.approx(0.99, abs=0.006)  # 3 standard errors
    # Of two estimates that are as exact as each other, 99 % of one holds the other at 2.576 / sqrt(2).
    others = np.mean([low <= other <= high for low, other, high in bounds])
    assert others == pytest.approx(math.erf(student(math.inf) / 2), abs=0.014)
