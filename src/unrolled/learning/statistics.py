"""What trainings from several seeds say together: a largest delay, a factor, a rank correlation, with intervals.

All intervals are free of distributions. Those of quantiles are between order statistics (David, Nagaraja 2003, Order
Statistics, §7.1), which holds for delays that were tried on a grid as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SHARE = 0.8  # of seeds that have to learn a delay: 8 of 10
TAIL = 0.025  # chance that a quantile lies beyond an end of its interval, where there are seeds enough for that
TWO_SIDED = 0.01  # the same of a median of pairs, both ends together
RESAMPLES = 2000
FEWEST = 3  # networks that a rank correlation with an interval takes


@dataclass(frozen=True)
class Quantile:
    """An estimate, between `low` and `high` with a chance of at least `coverage`."""

    value: float
    low: float
    high: float
    coverage: float


def learned_by_most(delays: Sequence[float]) -> Quantile:
    """The largest delay that at least 80 % of the seeds learned, of the largest that each did.

    The interval is of the delay that 80 % of all seeds would learn, the 20 % quantile.
    """
    ordered, count = sorted(delays), len(delays)
    needed = math.ceil(SHARE * count - 1e-9)
    below = 1 - SHARE
    ranks = range(1, count + 1)
    low = max((rank for rank in ranks if at_most(rank - 1, count, below) <= TAIL), default=1)
    high = min((rank for rank in ranks if 1 - at_most(rank - 1, count, below) <= TAIL), default=count)
    coverage = at_most(high - 1, count, below) - at_most(low - 1, count, below)
    return Quantile(ordered[count - needed], ordered[low - 1], ordered[high - 1], coverage)


def median_of(values: Sequence[float]) -> Quantile:
    """The median with its 99 % interval, or the widest one that so few values have."""
    ordered, count = sorted(values), len(values)
    ranks = range(1, count // 2 + 1)
    low = max((rank for rank in ranks if 2 * at_most(rank - 1, count, 0.5) <= TWO_SIDED), default=1)
    coverage = max(0.0, 1 - 2 * at_most(low - 1, count, 0.5))
    return Quantile(float(np.median(ordered)), ordered[low - 1], ordered[count - low], coverage)


def at_most(successes: int, count: int, chance: float) -> float:
    """Of so many tries, by the binomial distribution."""
    return sum(math.comb(count, k) * chance**k * (1 - chance) ** (count - k) for k in range(successes + 1))


def share_of(successes: int, count: int) -> Quantile:
    """A share with its exact 99 % interval (Clopper, Pearson 1934)."""
    tail = TWO_SIDED / 2
    low = _chance_where(lambda chance: 1 - at_most(successes - 1, count, chance) < tail) if successes else 0.0
    high = _chance_where(lambda chance: at_most(successes, count, chance) > tail) if successes < count else 1.0
    return Quantile(successes / count if count else math.nan, low, high, 1 - TWO_SIDED)


def _chance_where(holds: Callable[[float], bool]) -> float:
    """The largest chance for which something holds that does for small ones, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def rank_correlation(groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> Quantile:
    """Spearman's, of all pairs in all groups, with a 99 % interval by a bootstrap of groups, and of pairs in each.

    The groups are networks and the pairs are seeds: seeds of one network say little about others (Davison, Hinkley
    1997, Bootstrap Methods, §3.8). NaN where there are fewer than three groups, or nothing to rank.
    """
    estimate = spearman(*map(np.concatenate, zip(*groups, strict=True))) if groups else math.nan
    if len(groups) < FEWEST or math.isnan(estimate):
        return Quantile(estimate, math.nan, math.nan, math.nan)
    generator, found = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        drawn = []
        for place in generator.integers(len(groups), size=len(groups)):
            x, y = groups[place]
            pairs = generator.integers(len(x), size=len(x))
            drawn.append((x[pairs], y[pairs]))
        found.append(spearman(*map(np.concatenate, zip(*drawn, strict=True))))
    low, high = np.nanpercentile(found, [100 * TWO_SIDED / 2, 100 * (1 - TWO_SIDED / 2)])
    return Quantile(estimate, float(low), float(high), 1 - TWO_SIDED)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """The correlation of ranks, those of equal numbers being their mean; NaN where all of one are equal."""
    ranks = np.stack([_ranks(x), _ranks(y)])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    size = float(np.sqrt((centred**2).sum(axis=1).prod()))
    return float((centred[0] * centred[1]).sum() / size) if size else math.nan


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = (last - (counts - 1) / 2)[places]
    return ranks
