"""The model of sizes: least squares without negative constants, what it predicts, and where a loop gets cheap."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import Workload
from unrolled.speed.why.model import CHEAP, LARGEST, TERMS, Model, Point, _least_squares, _values, fit, terms
from unrolled.speed.why.sizes import design

LOOP = (1e-5, 2e-5, 1e-10, 2e-11, 5e-12)
FUSED = (2e-5, 2e-6, 1e-10, 1e-11, 5e-12)
ABOUT = Workload(cell="lstm", batch_size=16, hidden_size=128, seq_len=50)


def seconds(constants, workload):
    """Written out, for one layer."""
    gates = {"rnn_tanh": 1, "gru": 3, "lstm": 4}[workload.cell]
    t, b, i, h = workload.seq_len, workload.batch_size, workload.input_size, workload.hidden_size
    n = t * workload.layers * workload.directions
    k0, k1, k2, k3, k4 = constants
    return k0 + n * (k1 + k2 * b * gates * h + k3 * gates * h * (i + h) + k4 * b * gates * h * (i + h))


def points(cell="lstm", noise=0.0, loop=LOOP, fused=FUSED):
    draws = np.random.default_rng(0)
    sizes = design(ABOUT.replace(cell=cell))
    return [
        Point(
            w,
            seconds(loop, w) * np.exp(noise * draws.normal()),
            seconds(fused, w) * np.exp(noise * draws.normal()),
        )
        for w in sizes
    ]


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_known_constants_are_found(cell):
    model = fit(points(cell), ABOUT.replace(cell=cell))
    assert model.loop == pytest.approx(LOOP, rel=1e-6)
    assert model.fused == pytest.approx(FUSED, rel=1e-6)
    assert model.error < 1e-9


def test_sizes_that_were_not_run_are_predicted():
    model = fit(points(), ABOUT)
    other = ABOUT.replace(batch_size=48, hidden_size=200, seq_len=33, bidirectional=True)
    assert model.seconds(other) == pytest.approx((seconds(LOOP, other), seconds(FUSED, other)))
    assert model.ratio(other) == pytest.approx(seconds(LOOP, other) / seconds(FUSED, other))


def test_layers_and_their_inputs_are_counted():
    two, one = ABOUT.replace(num_layers=2), ABOUT
    above = ABOUT.replace(input_size=128)
    assert terms(two)[1:] == pytest.approx(terms(one)[1:] + terms(above)[1:])
    assert terms(two)[0] == 1


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_no_better_constants_of_at_least_0_are_near(seed):
    draws = np.random.default_rng(seed)
    rows, times = draws.uniform(0, 1, (9, 4)), draws.uniform(0.1, 1, 9)
    best = _least_squares(rows, times)
    assert (best >= 0).all()

    def error(constants):
        return float(np.square(rows @ constants / times - 1).sum())

    for steps in itertools.product((-1e-3, 0, 1e-3), repeat=4):
        assert error(best) <= error(np.maximum(best + steps, 0)) + 1e-12


def test_where_a_loop_gets_cheap_is_where_the_constants_say():
    model = fit(points(), ABOUT)
    for crossing in model.crossings:
        values = _values(LARGEST[crossing.axis])
        cheap = [
            seconds(LOOP, ABOUT.replace(**{crossing.axis: v}))
            <= CHEAP * seconds(FUSED, ABOUT.replace(**{crossing.axis: v}))
            for v in values
        ]
        expected = (
            None if not cheap[-1] else values[max((k + 1 for k, c in enumerate(cheap) if not c), default=0)]
        )
        assert crossing.value == expected
        assert crossing.low == crossing.high == crossing.value  # without noise nothing else can be
    assert {each.axis for each in model.crossings} == {"batch_size", "hidden_size", "seq_len"}
    assert next(each for each in model.crossings if each.axis == "batch_size").value is not None
    assert next(each for each in model.crossings if each.axis == "seq_len").value is None


def test_noise_widens_the_bounds_around_the_truth():
    exact, noisy = fit(points(), ABOUT), fit(points(noise=0.1), ABOUT)
    truth = next(each for each in exact.crossings if each.axis == "batch_size")
    found = next(each for each in noisy.crossings if each.axis == "batch_size")
    assert found.low < found.high if found.high else found.low
    assert found.low <= truth.value
    assert found.high is None or truth.value <= found.high


def test_a_model_of_too_few_sizes_is_no_model():
    model = fit(points(), ABOUT)
    with pytest.raises(ValueError, match="as many sizes as constants"):
        Model(model.loop, model.fused, model.points[: len(TERMS) - 1], model.crossings).check()
