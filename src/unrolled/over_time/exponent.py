"""The largest Lyapunov exponent with an interval, from one trajectory."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from unrolled.over_time.measured import Exponent
from unrolled.spectrum.lyapunov_record import Exponents

COVERAGE = 0.99
FEWEST = 5  # blocks of steps that an interval takes


def exponent_of(part: Exponents) -> Exponent:
    """The mean of the largest exponent over samples, with an interval from consecutive blocks of steps.

    Blocks of 50 steps and more are taken for independent (batch means: Law 2015, Simulation Modeling, §9.5.3).
    """
    value = float(part.mean[0])
    if math.isinf(value):
        return Exponent(value, value, value)
    ends = np.concatenate(([0], part.times))
    sums = np.concatenate((np.zeros((1, part.samples)), part.running[..., 0] * part.times[:, None]))
    blocks = (np.diff(sums, axis=0) / np.diff(ends)[:, None]).ravel()
    if len(blocks) < FEWEST:
        return Exponent(value, -math.inf, math.inf)
    half = student(len(blocks) - 1) * float(blocks.std(ddof=1)) / math.sqrt(len(blocks))
    return Exponent(value, value - half, value + half)


def student(degrees: int) -> float:
    """The two-sided 99 % quantile of Student's t, to 1 % from four degrees of freedom on.

    By its expansion about the normal distribution (Abramowitz, Stegun 1964, 26.7.5).
    """
    z = NormalDist().inv_cdf((1 + COVERAGE) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / degrees**power for power, term in enumerate(terms, start=1))
