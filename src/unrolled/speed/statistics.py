"""From the rounds of several passes to a ratio, its interval and a verdict.

The model. A benchmark is measured in P passes, minutes apart where a grid is run. In pass p its rounds give `y_p`, the
median of `log(seconds / reference seconds)`. Medians of passes differ for two reasons: each is known from a few rounds
only (variance `w`, from the spread of the rounds), and the state of the machine drifts between passes, differently for
both sides (variance `tau^2`). So

    y_p ~ Normal(mu, sigma^2),        sigma^2 ~ (d0 / chi^2 with d0 degrees of freedom) * (tau^2 + w)

where `exp(mu)` is the ratio, and `tau^2` and `d0` are alike for all benchmarks of a run. Four passes say little about
`sigma^2` of a single benchmark, all benchmarks together say a lot: `Drift.fit` finds `tau^2` and `d0` by maximum
likelihood from the sample variances `s^2` of all of them, which follow `(tau^2 + w) F(P - 1, d0)`. The posterior mean
`(d0 (tau^2 + w) + (P - 1) s^2) / (d0 + P - 1)` then stands for `sigma^2`, and the mean of the passes has Student's t
distribution with `d0 + P - 1` degrees of freedom around `mu`: the moderated t statistic of Smyth (2004, Statistical
Applications in Genetics and Molecular Biology 3, article 3), with the random effects of DerSimonian and Laird (1986,
Controlled Clinical Trials 7, 177-188) for its scale.

Passes of one run are exchangeable, runs are not: something keeps its value for a whole run and takes another one in
the next (a colder room, another neighbour on the host, where the memory of this process lies). No run can show that by
itself, so it has a constant, `RUN`, measured between runs. With it, an interval is that of another run's ratio:

    estimate ~ t * sqrt(sigma^2 / P + RUN^2)

Intervals of a grid and changes between two runs have it. That of a race by itself has not: it says what happened.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated

import msgspec
import numpy as np

from unrolled.results.codec import NonNegative

CONFIDENCE = 0.99
# The fewest rounds that bound a median at 99 % and can lose an outlier at each end: 2 * (1 + 13) / 2^13 < 0.01.
MIN_ROUNDS = 13
# Differences below 1 % are not called, however many rounds agree on them: code layout alone moves that much.
RESOLUTION = 1.01
# The standard deviation of the logarithm of a ratio from run to run, beyond what passes show: of six ordered pairs of
# default grids up to half an hour apart, intervals held 84 % of the other run's ratios without it and 93 % with it; of
# twelve on another machine 95 % with it. Exact ones hold 93 %.
RUN = 0.01
# An interval that lies within 5 % of 1 on both sides is called `same`.
SAME_WITHIN = 1.05
# An interval that is wider than this factor, up or down, tells nothing about a ratio.
TELLS_WITHIN = 2.0
# The fewest benchmarks from which the drift of a machine is told.
FEWEST_TO_FIT = 8
MEDIAN_VARIANCE = math.pi / 2  # of the median of normal values, over that of their mean

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Interval:
    """A ratio of times (above 1 is slower) and its 99 % interval."""

    ratio: float
    low: float
    high: float

    @property
    def noise_floor(self) -> float:
        """Of fused against itself: the largest ratio, either way, that noise alone explains."""
        return max(self.high, 1 / self.low, RESOLUTION)

    @property
    def half_width(self) -> float:
        """As a share of the ratio: 0.05 where it ends 5 % away, at the farther end."""
        return max(self.high / self.ratio, self.ratio / self.low) - 1

    @property
    def tells(self) -> bool:
        """Whether it says anything about the ratio: it is not NaN, and narrower than a factor of two each way."""
        return self.half_width <= TELLS_WITHIN - 1


NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Drift:
    """How much passes of a run differ beyond what their rounds explain: `tau^2` of log times, and `d0`.

    With `degrees` 0 nothing is known but what each benchmark shows by itself.
    """

    variance: NonNegative = 0.0
    degrees: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0

    @classmethod
    def fit(cls, of: Sequence[Passes]) -> Drift:
        """The most likely one for these benchmarks; that of which nothing is known where they are too few."""
        several = [each for each in of if len(each.logs) > 1 and each.within > 0]
        if len(several) < FEWEST_TO_FIT:
            return cls()
        freedom = np.array([len(each.logs) - 1.0 for each in several])
        sample = np.array([each.between for each in several])
        within = np.array([each.within for each in several])
        # Two are as likely as any, at first: a coarse net over both, then finer ones around the best knot.
        scales, degrees = np.geomspace(1e-4, 1, 33) ** 2, np.geomspace(1, 1000, 33)
        for _ in range(3):
            likely = np.array(
                [[_log_likelihood(sample, freedom, v + within, d) for d in degrees] for v in scales]
            )
            i, j = np.unravel_index(likely.argmax(), likely.shape)
            best = cls(float(scales[i]), float(degrees[j]))
            scales, degrees = _around(scales, int(i)), _around(degrees, int(j))
        return best


def _around(knots: np.ndarray, k: int) -> np.ndarray:
    return np.geomspace(knots[max(k - 1, 0)], knots[min(k + 1, len(knots) - 1)], 9)


def _log_likelihood(sample: np.ndarray, d: np.ndarray, scale: np.ndarray, d0: float) -> float:
    """Of sample variances that follow `scale * F(d, d0)`, but for what does not depend on `scale` and `d0`."""
    x = np.maximum(sample, 1e-12 * scale) / scale
    kinds, counts = np.unique(d, return_counts=True)
    gammas = sum(
        n * (math.lgamma((k + d0) / 2) - math.lgamma(d0 / 2)) for k, n in zip(kinds, counts, strict=True)
    )
    terms = d / 2 * np.log(d / d0) + d / 2 * np.log(x) - (d + d0) / 2 * np.log1p(d * x / d0)
    return float(terms.sum() + gammas)


@dataclass(frozen=True)
class Estimate:
    """A logarithm, its standard error, and the degrees of freedom of that: Student's t around the truth."""

    log: float
    error: float
    degrees: float

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference of two that do not depend on each other (Welch 1947, Satterthwaite 1946)."""
        mine, theirs = self.error**2, other.error**2
        shares = mine**2 / self.degrees + theirs**2 / other.degrees
        degrees = (mine + theirs) ** 2 / shares if shares else math.inf
        return Estimate(self.log - other.log, math.hypot(self.error, other.error), degrees)

    @property
    def in_any_run(self) -> Estimate:
        """With what moves a whole run in its error."""
        return self - Estimate(0.0, RUN, math.inf)

    @property
    def interval(self) -> Interval:
        """Of the number itself, at 99 %."""
        half = student(self.degrees) * self.error if self.error else 0.0
        return Interval(math.exp(self.log), _exp(self.log - half), _exp(self.log + half))


def _exp(log: float) -> float:
    return math.exp(min(max(log, -700.0), 700.0))


@dataclass(frozen=True)
class Passes:
    """Logarithms in passes, made one by one: their medians, and what the rounds say of how well these are known."""

    logs: tuple[float, ...]
    within: float

    @classmethod
    def of(cls, logs: np.ndarray, rounds: Sequence[int]) -> Passes:
        """From the logarithms of all rounds, pass by pass.

        The spread of the rounds of a pass is that of their absolute deviations from its median, which a round gone
        wrong does not move.
        """
        parts = np.split(logs, np.cumsum(rounds)[:-1])
        medians = [float(np.median(part)) for part in parts]
        deviations = np.abs(np.concatenate([part - m for part, m in zip(parts, medians, strict=True)]))
        # The median of a pass takes part of the freedom of its rounds, as a mean would.
        freedom = len(logs) / max(len(logs) - len(parts), 1)
        spread = freedom * (1.4826 * float(np.median(deviations))) ** 2
        return cls(tuple(medians), MEDIAN_VARIANCE * spread * float(np.mean(1 / np.asarray(rounds))))

    @property
    def between(self) -> float:
        """The sample variance between passes."""
        return float(np.var(self.logs, ddof=1))

    def estimate(self, drift: Drift) -> Estimate:
        """The mean over passes. It is never taken for better known than the rounds allow."""
        freedom = len(self.logs) - 1.0
        prior = drift.variance + self.within
        variance = (drift.degrees * prior + freedom * self.between) / (drift.degrees + freedom)
        error = math.sqrt(max(variance, self.within) / len(self.logs))
        return Estimate(float(np.mean(self.logs)), error, drift.degrees + freedom)


def estimated(logs: np.ndarray, rounds: Sequence[int], drift: Drift) -> Estimate:
    """The mean over passes of `logs`; of a single pass the median, with the interval that its rounds give."""
    if len(rounds) > 1:
        return Passes.of(logs, rounds).estimate(drift)
    low, high = median_interval(logs)
    return Estimate(float(np.median(logs)), (high - low) / (2 * _Z), math.inf)


def paired_ratio(seconds: Sequence[float], reference_seconds: Sequence[float]) -> Interval:
    """`exp(median(log(seconds / reference_seconds)))` over the paired rounds of one pass, with its 99 % interval."""
    logs = np.log(np.asarray(seconds) / np.asarray(reference_seconds))
    low, high = median_interval(logs)
    return Interval(math.exp(np.median(logs)), math.exp(low), math.exp(high))


def student(degrees: float, confidence: float = CONFIDENCE) -> float:
    """The two-sided quantile of Student's t distribution: Hill (1970, Algorithm 396, CACM 13, 619-620).

    To five digits from two degrees of freedom on.
    """
    p = 1 - confidence
    if math.isinf(degrees):
        return NormalDist().inv_cdf(1 - p / 2)
    if degrees == 1:
        return 1 / math.tan(p * math.pi / 2)
    if degrees == 2:
        return math.sqrt(2 / (p * (2 - p)) - 2)
    a = 1 / (degrees - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * degrees
    y = (d * p) ** (2 / degrees)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(p / 2)
        y = x * x
        if degrees < 5:
            c += 0.3 * (degrees - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = a * y * y
        y = math.expm1(y)
    else:
        y = ((1 / (((degrees + 6) / (degrees * y) - 0.089 * d - 0.822) * (degrees + 2) * 3) + 0.5 / (degrees + 4))
             * y - 1) * (degrees + 1) / (degrees + 2) + 1 / y  # fmt: skip
    return math.sqrt(degrees * y)


def median_interval(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The percentile bootstrap interval of the median, exactly: as if with infinitely many resamples.

    Of n sorted values drawn with replacement, the resampled median is at most the k-th when more than
    half of n draws are among the lowest k, which is a binomial tail with p = k / n (Efron 1979, §3). With
    few values this interval is too narrow, so it is never narrower than the distribution-free one, which
    has p = 1/2 at the true median (the sign test; Conover 1999, §3.2).
    """
    ordered = np.sort(values)
    n = len(ordered)
    tail = (1 - confidence) / 2
    # As many values as leave at most the tail beyond the interval are dropped, alike at both ends.
    droppable = range(1, (n + 1) // 2)
    drop = bisect_left(droppable, True, key=lambda k: not _may_drop(k, n, tail))
    return float(ordered[drop]), float(ordered[n - 1 - drop])


def _may_drop(k: int, n: int, tail: float) -> bool:
    """Whether the lowest `k` of `n` values can be left out of the interval, by bootstrap and by sign test."""
    bootstrap = _binomial_tail(n, k / n, n // 2 + 1)  # P(median of a resample <= k-th value)
    sign_test = _binomial_tail(n, 0.5, n - k)  # P(true median < the lowest value left)
    return max(bootstrap, sign_test) <= tail


def _binomial_tail(n: int, p: float, at_least: int) -> float:
    """`P(X >= at_least)` for X ~ Binomial(n, p), 0 < p < 1."""
    return math.fsum(
        math.exp(
            math.lgamma(n + 1)
            - math.lgamma(j + 1)
            - math.lgamma(n - j + 1)
            + j * math.log(p)
            + (n - j) * math.log1p(-p)
        )
        for j in range(at_least, n + 1)
    )


def verdict(interval: Interval, noise_floor: float) -> str:
    """`slower` or `faster` where the whole interval clears 1 and the noise floor; else `same` or `unclear`."""
    if not interval.tells:
        return "unclear"
    floor = max(noise_floor, RESOLUTION)
    if interval.low > floor:
        return "slower"
    if interval.high < 1 / floor:
        return "faster"
    if interval.low >= 1 / SAME_WITHIN and interval.high <= SAME_WITHIN:
        return "same"
    return "unclear"
