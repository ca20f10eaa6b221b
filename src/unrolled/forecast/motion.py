"""How a closed loop moves when it runs free, in a word: exact, and the same for every network."""

from __future__ import annotations

import math

# Nats over a whole run: a direction that neither grows nor shrinks changes its length by less than a factor e^10.
NEUTRAL = 10.0
STILL = 1e-3  # of the truth's standard deviation: a loop whose predictions differ by less is at rest

MOTIONS = ("chaotic", "neutral", "cycle", "fixed point", "blows up")
DEFINITIONS = (
    "Runs free: chaotic, where the largest exponent is above 0; neutral, where it is 0 to within "
    f"{NEUTRAL:g} nats over the whole run, as of a cycle whose phase nothing holds; a cycle or a fixed point, where it "
    "is below; blows up, where a prediction is NaN, inf, or a million times the largest true point."
)


def motion(largest: float, spread: float, scale: float, steps: int) -> str:
    """One of `MOTIONS`, by the largest exponent over so many steps, NaN where there is none.

    `spread` is the largest less the smallest prediction of a late part of the run, `scale` the truth's standard
    deviation.
    """
    if math.isnan(largest):
        return "blows up"
    if largest < 0 and spread <= STILL * scale:
        return "fixed point"
    if abs(largest) <= NEUTRAL / steps:
        return "neutral"
    return "chaotic" if largest > 0 else "cycle"
