"""From paired rounds to a ratio, its interval and a verdict."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.99
# The fewest pairs that bound a median at 99 % and can lose an outlier at each end: 2 * (1 + 13) / 2^13 < 0.01.
MIN_ROUNDS = 13
# Differences below 1 % are not called, however many rounds agree on them: code layout alone moves that much.
RESOLUTION = 1.01
# An interval that lies within 5 % of 1 on both sides is called `same`.
SAME_WITHIN = 1.05


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


def paired_ratio(seconds: Sequence[float], reference_seconds: Sequence[float]) -> Interval:
    """`exp(median(log(seconds / reference_seconds)))` over paired rounds, with its 99 % interval."""
    logs = np.log(np.asarray(seconds) / np.asarray(reference_seconds))
    low, high = median_interval(logs)
    return Interval(math.exp(np.median(logs)), math.exp(low), math.exp(high))


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
    floor = max(noise_floor, RESOLUTION)
    if interval.low > floor:
        return "slower"
    if interval.high < 1 / floor:
        return "faster"
    if interval.low >= 1 / SAME_WITHIN and interval.high <= SAME_WITHIN:
        return "same"
    return "unclear"
