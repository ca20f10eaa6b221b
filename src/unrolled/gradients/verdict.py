"""A profile in a few numbers and a word: does the gradient vanish, hold or explode?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unrolled.results.shown import Shown

# Decades per step below which a gradient counts as steady: less than a factor of ten in 100 steps.
STEADY = 0.01
# The horizon ends where the norm falls below this part of that at lag 0.
HORIZON_DECADES = -3.0
# A profile that falls counts as rising too, so as `mixed`, where its peak is this far above lag 0.
PEAK_DECADES = 1.0
# However slowly, a gradient that changes by more than this in all does not stay: the horizon's factor of 1000.
STEADY_DECADES = -HORIZON_DECADES
# Points that the robust slope is fitted to; its cost grows with their square.
FIT_POINTS = 256


@dataclass(frozen=True, repr=False)
class Verdict(Shown):
    """A profile in one word, and the numbers that the word rests on.

    `decades_per_step`: slope of log10 norm per lag (Theil-Sen), NaN where fewer than two norms are not 0.
    `half_life`: steps back until the norm halves at that slope; inf where it does not fall.
    `horizon`: largest lag whose norm is at least 1/1000 of that at lag 0; None where the norm at lag 0 is 0.
    `horizon_is_censored`: the norm at the largest lag is still that large, so the horizon is a lower bound.
    `thirds`: the slopes of the near, middle and far third of the lags.
    `peak`: decades by which the largest norm is above that at lag 0.
    `word`: `steady` where the slope is at most 0.01 decades per step and every norm within 3 decades of that at
    lag 0; `vanishing` or `exploding` where one of them goes further down or up, or the last norm is exactly 0;
    `mixed` where the profile falls and rises: by more than 0.01 decades per step in a third of the lags, or by
    more than 3 decades from any lag to a later one, or up to a peak of at least a decade; `none` without any
    gradient.
    """

    VIEW = "verdict"

    word: str
    decades_per_step: float
    half_life: float
    horizon: int | None
    horizon_is_censored: bool
    thirds: tuple[float, float, float]
    peak: float


def judge(log10_norm: np.ndarray) -> Verdict:
    """The verdict on norms by lag, `log10_norm[k]` for lag k (`-inf` for a norm of 0)."""
    slope = theil_sen(log10_norm)
    parts = np.array_split(log10_norm, 3)
    near, middle, far = (theil_sen(part) for part in parts)
    reach = horizon(log10_norm)
    peak = float(log10_norm.max() - log10_norm[0]) if np.isfinite(log10_norm[0]) else math.nan
    return Verdict(
        word=_word(log10_norm, slope, (near, middle, far), peak),
        decades_per_step=slope,
        half_life=math.nan if math.isnan(slope) else -math.log10(2) / slope if slope < 0 else math.inf,
        horizon=reach,
        horizon_is_censored=reach == len(log10_norm) - 1,
        thirds=(near, middle, far),
        peak=peak,
    )


def theil_sen(values: np.ndarray) -> float:
    """The median slope over all pairs of points (Theil 1950, Sen 1968), infinite ones left out."""
    index = np.arange(len(values))
    points = index[np.isfinite(values)]
    if len(points) < 2:
        return math.nan
    if len(points) > FIT_POINTS:
        points = points[np.linspace(0, len(points) - 1, FIT_POINTS).round().astype(int)]
    left, right = np.triu_indices(len(points), 1)
    x, y = points.astype(float), values[points]
    return float(np.median((y[right] - y[left]) / (x[right] - x[left])))


def horizon(log10_norm: np.ndarray) -> int | None:
    """The largest lag whose norm is still at least 1/1000 of that at lag 0; None where that is 0."""
    if not len(log10_norm) or not np.isfinite(log10_norm[0]):
        return None
    return int(np.flatnonzero(log10_norm - log10_norm[0] >= HORIZON_DECADES)[-1])


def _word(log10_norm: np.ndarray, slope: float, thirds: tuple[float, ...], peak: float) -> str:
    known = log10_norm[np.isfinite(log10_norm)]
    ends_in_zero = log10_norm[-1] == -math.inf
    if not len(known):
        return "none"
    if math.isnan(slope):
        return "vanishing" if ends_in_zero else "steady"
    drop = (np.maximum.accumulate(known) - known).max()
    climb = (known - np.minimum.accumulate(known)).max()
    falls = any(part < -STEADY for part in thirds) or ends_in_zero or drop > STEADY_DECADES
    rises = any(part > STEADY for part in thirds) or peak >= PEAK_DECADES or climb > STEADY_DECADES
    if falls and rises:
        return "mixed"
    if slope < -STEADY or ends_in_zero or known[0] - known.min() > STEADY_DECADES:
        return "vanishing"
    if slope > STEADY or known.max() - known[0] > STEADY_DECADES:
        return "exploding"
    return "steady"
