"""Exponents of closed loops against Jacobians by autograd of cells written out by hand, and against closed forms."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from tests.spectrum import oracle
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.forecast.autonomous import ClosedLoop, autonomous_spectrum, driven_with
from unrolled.forecast.autonomous_record import Autonomous
from unrolled.forecast.model import Forecaster
from unrolled.forecast.motion import DEFINITIONS, MOTIONS, NEUTRAL, STILL, motion
from unrolled.forecast.setting import Setting
from unrolled.forecast.study import EXPONENTS, exponents_of
from unrolled.forecast.task import forecasting

KINDS = {"tanh": nn.RNN, "relu": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
# Nats per step: what `qr_every="auto"` allows itself beside QR at every step.
NEAR = 1e-6
STEPS, TRANSIENT = 60, 20  # short, so that a rounding has no time to grow in a loop that is chaotic


def forecaster(kind, layers, hidden=4):
    """With weights so large that the loop of a tanh or a gated cell moves; those of a relu keep all units on."""
    options = {"nonlinearity": kind} if kind in ("tanh", "relu") else {}
    generator = torch.Generator().manual_seed(layers)
    model = Forecaster(KINDS[kind](1, hidden, layers, batch_first=True, **options), nn.Linear(hidden, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.9, generator=generator)
            if kind == "relu":
                parameter.abs_().mul_(0.12 if parameter.dim() > 1 else 1.0)
    return model


def by_hand(model, window, steps):
    """The Jacobians `(steps, n, n)` of `s -> F(s)` along the loop after `window`, in the order h of all layers, then c."""
    model = Forecaster(model.recurrent.double(), model.readout.double()).requires_grad_(False)
    module, layers = model.recurrent, model.recurrent.num_layers
    parts = 2 if module.mode == "LSTM" else 1
    size = parts * layers * module.hidden_size
    # The oracle has the parts of each layer side by side.
    theirs = torch.arange(size).view(parts, layers, -1).transpose(0, 1).flatten()

    def advance(x, flat):
        return torch.empty_like(flat).scatter(0, theirs, oracle.stack_step(module, x, flat[theirs]))

    def autonomous(_, flat):
        last = flat.view(parts, layers, -1)[0, -1]
        return advance(model.readout(last), flat)

    state = torch.zeros(size, dtype=torch.float64)
    for x in window.double():
        state = advance(x[None], state)
    return oracle.along(autonomous, torch.zeros(steps, 1, dtype=torch.float64), state)[0]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_exponents_of_a_closed_loop_are_those_of_its_jacobians_by_autograd_and_qr_at_every_step(kind, layers):
    model = forecaster(kind, layers)
    windows = torch.sin(torch.arange(24.0)).view(2, 12)
    found = autonomous_spectrum(model, windows, steps=STEPS, transient=TRANSIENT)
    two = autonomous_spectrum(model, windows, k=2, steps=STEPS, transient=TRANSIENT)
    assert model.readout.weight.dtype == torch.float32  # the one that was passed is left alone
    for values, largest, window in zip(found.values, two.values, windows, strict=True):
        jacobians = by_hand(forecaster(kind, layers), window, TRANSIENT + STEPS)
        expected = oracle.exponents(jacobians, warm_up=TRANSIENT)[-1].numpy() / STEPS
        np.testing.assert_allclose(values, np.sort(expected)[::-1], atol=NEAR, rtol=0)
        np.testing.assert_allclose(largest, np.sort(expected[:2])[::-1], atol=NEAR, rtol=0)
        assert len(values) == layers * 4 * (2 if kind == "lstm" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_prediction_is_no_state_of_its_own(kind):
    """The Jacobian of (h, prediction) has the eigenvalues of that of h alone, and one of 0."""
    loop = ClosedLoop(forecaster(kind, 1))
    (start, *rest) = loop.states(torch.tensor([[0.3, -0.2, 0.5]]))
    sizes = [part.shape for part in (start, *rest)]

    def parts_of(flat):
        return tuple(piece.view(size) for piece, size in zip(flat.split([4] * len(sizes)), sizes, strict=True))

    def alone(flat):
        return torch.cat([part.flatten() for part in loop.advance(parts_of(flat))])

    def with_prediction(flat):
        parts, last = parts_of(flat[:-1]), flat[-1:]
        state = tuple(part.transpose(0, 1) for part in parts)
        predicted, after = loop.model(last.view(1, 1, 1), state if len(state) > 1 else state[0])
        after = after if isinstance(after, tuple) else (after,)
        return torch.cat([*(part.flatten() for part in after), predicted.flatten()])

    flat = torch.cat([part.flatten() for part in (start, *rest)])
    whole = torch.cat([flat, loop.predict(parts_of(flat)).flatten()])
    np.testing.assert_allclose(with_prediction(whole)[:-1], alone(flat), atol=1e-14)
    one = torch.autograd.functional.jacobian(alone, flat).numpy()
    other = torch.autograd.functional.jacobian(with_prediction, whole).numpy()
    characteristic = np.poly(one)
    np.testing.assert_allclose(
        np.poly(other), np.append(characteristic, 0.0), atol=1e-12
    )  # times the eigenvalue


def linear(eigenvalues, read, seed=0):
    """A relu RNN whose loop is `h' = M h + b` near its fixed point of fives, M symmetric with these eigenvalues."""
    size = len(eigenvalues)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))[0]
    matrix = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T
    fed = torch.full((size, 1), 0.1, dtype=torch.float64)
    reads = torch.full((1, size), read, dtype=torch.float64)
    rest = torch.full((size,), 5.0, dtype=torch.float64)
    model = Forecaster(nn.RNN(1, size, nonlinearity="relu", batch_first=True), nn.Linear(size, 1)).double()
    oracle.set_weights(
        model.recurrent, weight_ih_l0=fed, weight_hh_l0=matrix - fed @ reads, bias_ih_l0=rest - matrix @ rest
    )
    oracle.set_weights(model.readout, weight=reads)
    return model, (reads @ rest).expand(30)


def test_exponents_of_a_linear_loop_are_the_logarithms_of_the_moduli_of_its_eigenvalues():
    model, window = linear([0.9, -0.6, 0.3], read=0.2)
    found = autonomous_spectrum(model, window, steps=200)
    np.testing.assert_allclose(found.values, np.log([[0.9, 0.6, 0.3]]), atol=NEAR)
    assert found.motions == ["fixed point"]


def test_a_loop_that_grows_without_end_is_a_word_and_no_traceback():
    model, window = (
        Forecaster(nn.RNN(1, 1, nonlinearity="relu", batch_first=True), nn.Linear(1, 1)),
        torch.ones(9),
    )
    oracle.set_weights(model.recurrent, weight_ih_l0=[[0.1]], weight_hh_l0=[[1.4]], bias_ih_l0=[1.0])
    oracle.set_weights(model.readout, weight=[[1.0]])
    found = autonomous_spectrum(model, window, k=1)
    assert found.motions == [found.motion] == ["blows up"]
    assert np.isnan(found.values).all()
    assert np.isnan(found.mean).all()
    assert np.isnan(found.error).all()
    found.check()
    with torch.no_grad():
        model.readout.weight.fill_(math.nan)
    assert autonomous_spectrum(model, window, k=1).motion == "blows up"


def test_of_two_loops_of_one_network_one_may_blow_up_and_the_other_come_to_rest():
    """`h' = max(0, 1.5 h - 1)` ends at 0 from below 2, where nothing is felt any more, and grows from above it."""
    model = Forecaster(nn.RNN(1, 1, nonlinearity="relu", batch_first=True), nn.Linear(1, 1))
    oracle.set_weights(model.recurrent, weight_ih_l0=[[1.0]], weight_hh_l0=[[0.5]], bias_ih_l0=[-1.0])
    oracle.set_weights(model.readout, weight=[[1.0]])
    found = autonomous_spectrum(model, torch.tensor([[1.4] * 20, [3.0] * 20]), steps=100)
    assert found.motions == ["fixed point", "blows up"]
    assert found.values[0, 0] == -math.inf
    assert math.isnan(found.values[1, 0])
    assert found.mean[0] == -math.inf
    found.check()


def test_a_loop_that_alternates_is_a_cycle_and_one_that_turns_is_neutral():
    """`x' = tanh(-3 x)` alternates; a rotation of two units held to its circle by tanh turns by an odd angle."""
    model = Forecaster(nn.RNN(1, 1, batch_first=True), nn.Linear(1, 1))
    oracle.set_weights(model.recurrent, weight_ih_l0=[[-3.0]])
    oracle.set_weights(model.readout, weight=[[1.0]])
    found = autonomous_spectrum(model, torch.tensor([0.5, -0.2]), steps=100)
    x = 0.5
    for _ in range(100):
        x = math.tanh(3 * x)
    assert found.motion == "cycle"
    assert found.values[0, 0] == pytest.approx(math.log(3 * (1 - x**2)), abs=NEAR)

    turn = 1.3 * torch.tensor([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]])
    model = Forecaster(nn.RNN(1, 2, batch_first=True), nn.Linear(2, 1))
    oracle.set_weights(
        model.recurrent, weight_ih_l0=[[1.0], [0.0]], weight_hh_l0=turn - torch.tensor([[0.1, 0], [0, 0]])
    )
    oracle.set_weights(model.readout, weight=[[0.1, 0.0]])
    found = autonomous_spectrum(model, torch.tensor([0.5, -0.2]), steps=400)
    assert found.motion == "neutral"
    assert abs(found.values[0, 0]) < 5e-3
    assert found.values[0, 1] < -0.1


@pytest.mark.parametrize(
    ("largest", "spread", "word"),
    [
        (math.nan, math.nan, "blows up"),
        (-math.inf, 0.0, "fixed point"),
        (-0.5, 0.99 * STILL, "fixed point"),
        (-0.5, 1.01 * STILL, "cycle"),
        (-1.01 * NEUTRAL / 100, 1.0, "cycle"),
        (-0.99 * NEUTRAL / 100, 1.0, "neutral"),
        (0.99 * NEUTRAL / 100, 0.0, "neutral"),
        (1.01 * NEUTRAL / 100, 1.0, "chaotic"),
    ],
)
def test_every_loop_has_one_word(largest, spread, word):
    assert motion(largest, spread, 1.0, 100) == word
    assert word in MOTIONS
    assert word in DEFINITIONS


def test_mean_and_standard_error_are_over_the_loops_that_stay():
    values = np.array([[0.4, -1.0], [np.nan, np.nan], [0.6, -2.0]])
    found = Autonomous(values, np.array([2.0, np.nan, 2.0]), 1.0, 1000, 100)
    found.check()
    assert found.mean.tolist() == pytest.approx([0.5, -1.5])
    assert found.error.tolist() == pytest.approx([0.1, 0.5])  # half the distance of two
    assert found.motions == ["chaotic", "blows up", "chaotic"]
    assert found.motion == "chaotic"
    frame = found.frame()
    assert frame["loop"].tolist() == [1, 1, 2, 2, 3, 3]
    assert frame["index"].tolist() == [1, 2] * 3
    assert frame["exponent"].to_numpy()[[0, 1, 4, 5]].tolist() == [0.4, -1.0, 0.6, -2.0]


def test_loops_begin_after_windows_from_all_over_the_series():
    task = forecasting("henon", 20)
    rows = driven_with(task)
    assert rows.shape == (16, 19)
    assert torch.equal(rows[0], task.inputs[0, :, 0])
    assert torch.equal(rows[-1], task.inputs[-1, :, 0])
    assert len({tuple(row.tolist()) for row in rows}) == 16
    assert driven_with(forecasting("sine", 20)).shape == (3, 19)


MODEL, WINDOW = forecaster("tanh", 1), torch.zeros(5)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((MODEL.recurrent, WINDOW), {}, "model: expected a Forecaster, got RNN"),
        ((Forecaster(nn.RNN(2, 3), nn.Linear(3, 1)), WINDOW), {}, "model: expected one number in and one out, got 2"),
        ((Forecaster(nn.RNN(1, 3), nn.Linear(3, 2)), WINDOW), {}, "one number in and one out, got 1 and 2"),
        ((MODEL, [0.0]), {}, "window: expected true points (T,) or (B, T), got list"),
        ((MODEL, torch.zeros(1, 2, 3)), {}, "got (1, 2, 3)"),
        ((MODEL, torch.zeros(0)), {}, "got (0,)"),
        ((MODEL, torch.tensor([math.nan])), {}, "window: expected finite points"),
        ((MODEL, WINDOW), {"k": 0}, "k: expected 1 to 4"),
        ((MODEL, WINDOW), {"k": 5}, "k: expected 1 to 4"),
        ((MODEL, WINDOW), {"steps": 1}, "steps: expected at least 2, got 1"),
        ((MODEL, WINDOW), {"steps": 1.5}, "steps: expected an integer"),
        ((MODEL, WINDOW), {"transient": 0}, "transient: expected an integer of at least 1"),
    ],
)  # fmt: skip
def test_what_has_no_closed_loop_is_refused_in_a_line(arguments, options, said):
    with pytest.raises((InvalidTypeError, InvalidValueError), match=re.escape(said)) as raised:
        autonomous_spectrum(*arguments, **options)
    assert "\n" not in str(raised.value)


def test_as_many_exponents_as_asked_and_by_default_where_the_truth_is_known():
    assert exponents_of(Setting(signal="henon"), None) == EXPONENTS
    assert exponents_of(Setting(signal="lorenz", hidden_size=1, cell="lstm"), None) == 2
    assert exponents_of(Setting(), None) == 0
    assert exponents_of(Setting(signal="recall:4"), None) == 0
    assert exponents_of(Setting(signal="henon"), 0) == 0
    assert exponents_of(Setting(cell="lstm", num_layers=2), 64) == 64


@pytest.mark.parametrize(
    ("setting", "asked", "said"),
    [
        (Setting(cell="lstm", num_layers=2), 65, "exponents: expected at most 64, the numbers in the state of the lstm"),
        (Setting(signal="recall:4"), 1, "exponents: expected none of recall:4, which has no closed loop, got 1"),
        (Setting(), -1, "exponents: expected a number of at least 0, got -1"),
        (Setting(), 1.5, "exponents: expected a number of at least 0, got 1.5"),
    ],
)  # fmt: skip
def test_exponents_that_cannot_be_had_are_refused_in_a_line(setting, asked, said):
    with pytest.raises(InvalidValueError, match=re.escape(said)) as raised:
        exponents_of(setting, asked)
    assert "\n" not in str(raised.value)
