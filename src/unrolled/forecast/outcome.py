"""When a training counts as converged, spiked or diverged: exact, and the same for every setting."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

LAST = 100  # iterations whose median loss is the final loss
BEFORE = 100  # iterations whose median loss a spike is measured against
SETTLED = 10  # iterations without which there is no such median yet
SPIKE = 100.0  # times that median; trainings that went well had spikes of 2 to 25
DIVERGED = 2.0  # times the loss of the best constant answer
CONVERGED = 0.01  # of the loss of the best constant answer

OUTCOMES = ("converged", "not converged", "spiked", "diverged")
DEFINITIONS = (
    f"Final loss: median of the last {LAST} iterations. Spike: the largest loss relative to the median of up "
    f"to {BEFORE} iterations before it. Diverged: NaN or inf, or a final loss above {DIVERGED:g} times that of "
    f"the best constant answer. Spiked: not diverged, and a spike of at least {SPIKE:g}. Converged: neither, "
    f"and a final loss of at most {100 * CONVERGED:g} % of that of the best constant answer."
)


def final_loss(losses: np.ndarray) -> float:
    """The median of the last iterations; NaN where there is no loss at all."""
    return float(np.median(losses[-LAST:])) if len(losses) else math.nan


def largest_spike(losses: np.ndarray) -> float:
    """The largest ratio of a loss to the median before it: inf where one is not finite, NaN for too few."""
    if not np.isfinite(losses).all():
        return math.inf
    before = pd.Series(losses).rolling(BEFORE, min_periods=SETTLED).median().shift(1).to_numpy()
    known = before > 0
    return float((losses[known] / before[known]).max()) if known.any() else math.nan


def outcome(losses: np.ndarray, constant_loss: float, stopped: bool) -> str:
    """One of `OUTCOMES`; `stopped` says that the training ended at a loss or a gradient that was not finite."""
    final = final_loss(losses)
    if stopped or not final <= DIVERGED * constant_loss:
        return "diverged"
    if largest_spike(losses) >= SPIKE:
        return "spiked"
    return "converged" if final <= CONVERGED * constant_loss else "not converged"
