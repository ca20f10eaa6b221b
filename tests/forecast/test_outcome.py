"""Converged, spiked, diverged: the words are exact."""

import math

import numpy as np
import pandas as pd
import pytest

from unrolled.forecast.outcome import CONVERGED, DIVERGED, SPIKE, final_loss, largest_spike, outcome
from unrolled.forecast.suggestion import suggestions

FLAT = np.full(500, 0.001)


def test_the_final_loss_is_the_median_of_the_last_hundred():
    losses = np.concatenate([np.full(900, 7.0), np.arange(100.0)])
    assert final_loss(losses) == 49.5  # half of 49 + 50, which is exact
    assert math.isnan(final_loss(np.array([])))


def test_a_spike_is_measured_against_the_median_of_the_hundred_before():
    losses = FLAT.copy()
    losses[300] = 0.4
    assert largest_spike(losses) == pytest.approx(400)
    losses[:100] = 1000.0  # more than a hundred iterations before
    assert largest_spike(losses) == pytest.approx(400)
    losses[20] = math.inf
    assert largest_spike(losses) == math.inf
    assert math.isnan(largest_spike(FLAT[:3]))


def test_a_falling_loss_has_no_spike():
    assert largest_spike(np.geomspace(1, 1e-6, 1000)) < 0.95  # 0.93, against the median of the first ten


@pytest.mark.parametrize(
    ("losses", "stopped", "word"),
    [
        (FLAT, False, "converged"),
        (FLAT, True, "diverged"),
        (np.full(500, 0.99 * CONVERGED), False, "converged"),
        (np.full(500, 1.01 * CONVERGED), False, "not converged"),
        (np.full(500, 0.99 * DIVERGED), False, "not converged"),
        (np.full(500, 1.01 * DIVERGED), False, "diverged"),
        (np.append(FLAT, math.nan), True, "diverged"),
        (np.insert(FLAT, 250, 1.01 * SPIKE * 0.001), False, "spiked"),
        (np.insert(FLAT, 250, 0.99 * SPIKE * 0.001), False, "converged"),
    ],
)
def test_every_training_ends_with_one_word(losses, stopped, word):
    assert outcome(losses, 1.0, stopped) == word


def test_a_suggestion_acts_in_the_share_of_iterations_that_its_percentile_says():
    norms = np.concatenate([np.arange(1.0, 201), np.full(200, 0.5)])
    history = pd.DataFrame(
        {"network": "a", "clip": "none", "iteration": np.arange(1, 401), "log10_norm": np.log10(norms)}
    )
    found = suggestions(history).set_index("what")
    assert found.loc["percentile 90", "share_first"] == pytest.approx(0.1, abs=0.005)
    assert found.loc["percentile 90", "share_all"] == pytest.approx(0.05, abs=0.0025)
    assert found.loc["half the mean", "bound"] == pytest.approx(100.5 / 2)
    assert found.loc["ten times the mean", "share_all"] == 0
    assert found["suggested"].sum() == 1


def test_a_suggestion_comes_from_the_variant_without_a_clip():
    rows = [{"network": "a", "clip": clip, "iteration": k, "log10_norm": float(clip == "none")}
            for clip in ("norm:1", "none") for k in (1, 2)]  # fmt: skip
    assert set(suggestions(pd.DataFrame(rows))["bound"].round(9)) >= {10.0}
    assert suggestions(pd.DataFrame([{**row, "log10_norm": math.nan} for row in rows])).empty
