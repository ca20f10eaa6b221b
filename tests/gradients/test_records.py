"""Profiles as tables, numbers, words and files."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from tests.gradients.test_flow_against_autograd import make, sequence
from unrolled import Environment
from unrolled.errors import ResultFileError
from unrolled.gradients import GradientFlow, gradient_flow
from unrolled.gradients.verdict import horizon, judge, theil_sen
from unrolled.results.codec import encode

COLUMNS = ["module", "call", "layer", "direction", "path", "step", "lag"]
COLUMNS += ["log10_norm", "log10_min", "log10_median", "log10_max"]


def flow():
    return gradient_flow(make("lstm", num_layers=2, bidirectional=True), sequence(), clip="norm:1")


def test_frame_has_one_row_per_step_of_every_profile():
    frame = flow().frame()
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 2 * 2 * 2 * 7
    forward = frame[(frame.direction == "forward") & (frame.layer == 1) & (frame.path == "h")]
    assert forward.step.tolist() == list(range(7))
    assert forward.lag.tolist() == list(range(7))[::-1]
    reverse = frame[(frame.direction == "reverse") & (frame.layer == 1) & (frame.path == "h")]
    assert reverse.step.tolist() == reverse.lag.tolist() == list(range(7))


def test_statistics_over_samples():
    profile = gradient_flow(make("gru"), sequence(batch=4)).profile()
    norms = np.exp2(profile.samples)
    np.testing.assert_allclose(10**profile.log10_norm, np.sqrt((norms**2).mean(1)), rtol=1e-12)
    np.testing.assert_allclose(np.exp2(profile.log2_min), norms.min(1), rtol=1e-12)
    np.testing.assert_allclose(np.exp2(profile.log2_max), norms.max(1), rtol=1e-12)
    np.testing.assert_allclose(profile.log2_median, np.median(profile.samples, axis=1), rtol=1e-12)


def test_a_flow_survives_json(tmp_path):
    before = flow()
    before.save(tmp_path / "flow.json")
    after = GradientFlow.load(tmp_path / "flow.json")
    pd.testing.assert_frame_equal(before.frame(), after.frame())
    pd.testing.assert_frame_equal(before.summary(), after.summary())
    # JSON holds the shortest decimals that read back as the same float.
    assert after.parameters == before.parameters
    assert after.clip == before.clip
    assert after.environment == before.environment == Environment.without_load()


@pytest.mark.parametrize("version", [0, 1, 3, "2", None, True])
def test_another_version_is_refused_in_one_line(tmp_path, version):
    flow().save(tmp_path / "flow.json")
    content = json.loads((tmp_path / "flow.json").read_text()) | {"version": version}
    (tmp_path / "flow.json").write_text(json.dumps(content))
    with pytest.raises(
        ResultFileError, match=rf"version 2 of unrolled\.gradient_flow, got {version!r}"
    ) as raised:
        GradientFlow.load(tmp_path / "flow.json")
    assert "\n" not in str(raised.value)


def test_the_same_call_gives_the_same_bytes():
    """One seed, one process: the same operations in the same order, on tensors that start alike in memory."""
    assert json.dumps(encode(flow())) == json.dumps(encode(flow()))


@pytest.mark.parametrize(
    ("profile", "word"),
    [
        (math.log10(0.999) * np.arange(1e5), "vanishing"),  # 43 decades, 0.0004 a step
        (-math.log10(0.999) * np.arange(1e5), "exploding"),
        (np.linspace(0, -2.9, 1001), "steady"),
        (np.linspace(0, -3.1, 1001), "vanishing"),
        (np.linspace(0, 2.9, 1001), "steady"),
        (np.linspace(0, 3.1, 1001), "exploding"),
        (-np.abs(np.linspace(-4, 4, 2001)) + 4, "mixed"),  # up and down again by 4 decades
        (np.abs(np.linspace(-4, 4, 2001)) - 4, "mixed"),
        (np.concatenate([np.linspace(0, -1, 500), [-math.inf]]), "vanishing"),
    ],
)
def test_steady_rests_on_the_whole_change_as_well_as_on_the_rate(profile, word):
    assert judge(profile).word == word
    assert judge(profile - 200).word == word


@pytest.mark.parametrize(
    ("slope", "word"), [(-0.29, "vanishing"), (0.0, "steady"), (-0.005, "steady"), (0.2, "exploding")]
)
def test_a_straight_line_is_judged_by_its_slope(slope, word):
    verdict = judge(slope * np.arange(100.0) - 7)
    assert verdict.word == word
    assert verdict.decades_per_step == pytest.approx(slope)
    assert verdict.half_life == pytest.approx(-math.log10(2) / slope if slope < 0 else math.inf)
    assert verdict.horizon == (99 if slope > -0.03 else 10)
    assert verdict.horizon_is_censored == (slope > -0.03)


def test_what_falls_and_rises_is_mixed():
    assert judge(np.abs(np.arange(90.0) - 45)).word == "mixed"
    assert judge(np.full(9, -np.inf)).word == "none"
    assert judge(np.array([0.0] + [-np.inf] * 9)).word == "vanishing"


def test_a_few_outliers_do_not_move_the_slope():
    values = -0.1 * np.arange(100.0)
    values[::10] += 5
    assert theil_sen(values) == pytest.approx(-0.1, abs=0.01)
    assert theil_sen(-0.1 * np.arange(5000.0)) == pytest.approx(-0.1)


def test_horizon_is_the_largest_lag_within_three_decades():
    assert horizon(np.log10([1, 0.1, 0.0011, 0.0009, 0.0001])) == 2
    assert horizon(np.array([0, -1, -3.0, -3.1])) == 2
    assert horizon(np.array([0, -4, -2.0, -5])) == 2
    assert horizon(np.array([-np.inf, 0.0])) is None
