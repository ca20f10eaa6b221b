"""Training is that of a bare loop, bit for bit, and what is recorded of it is what happened."""

import math
import re

import numpy as np
import pytest
import torch

from tests.forecast.helpers import plain_training, same_weights
from unrolled import Environment, gradient_flow
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.forecast.closed_loop import closed_loop, rmse
from unrolled.forecast.record import Run
from unrolled.forecast.setting import Setting
from unrolled.forecast.study import Study
from unrolled.forecast.training import COLUMNS, Training

SMALL = Setting(iterations=25, length=12, warm_up=3)
KINDS = ["rnn_tanh", "rnn_relu", "gru", "lstm"]


def trained(setting):
    training = Training(setting)
    training.run()
    return training


def column(training, name):
    return training.history[:, COLUMNS.index(name)]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", KINDS)
def test_without_a_clip_it_is_a_bare_loop_bit_for_bit(cell, layers, optimizer):
    setting = SMALL.replace(cell=cell, num_layers=layers, optimizer=optimizer, batch_size=2)
    model, losses = plain_training(setting)
    training = trained(setting)
    assert same_weights(training.model, model)
    assert column(training, "loss").tolist() == losses  # as the weights are


def test_a_clip_that_never_fires_changes_no_bit_and_says_so():
    training = trained(SMALL.replace(clip="norm:10"))
    model, _ = plain_training(SMALL)
    assert same_weights(training.model, model)
    assert not column(training, "touched").any()
    assert (column(training, "cosine") == 1).all()  # nothing was multiplied, so these are not rounded
    assert (column(training, "log10_clipped") == column(training, "log10_norm")).all()


def test_a_clip_that_fires_is_torchs_clip_grad_norm():
    training = trained(SMALL.replace(clip="norm:0.3"))
    model, losses = plain_training(SMALL, max_norm=0.3)
    # torch takes the norm in float32: 25 steps make some hundred roundings of 6e-8 of it, here and there more.
    np.testing.assert_allclose(column(training, "loss"), losses, rtol=1e-4)
    for one, other in zip(training.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    fired = column(training, "touched") > 0
    assert fired.any()
    assert not fired.all()
    np.testing.assert_allclose(10 ** column(training, "log10_clipped")[fired], 0.3, rtol=1e-5)
    above = 10 ** column(training, "log10_norm") + 1e-6 - 0.3
    clear = np.abs(above) > 1e-6  # nearer to the bound rounding decides
    assert clear.sum() > 20
    np.testing.assert_array_equal(fired[clear], above[clear] > 0)


@pytest.mark.parametrize("clip", ["none", "norm:0.1", "value:0.01", "tensor:0.1", "auto:50", "step:0.01"])
def test_the_first_gradient_and_what_each_clip_does_to_it_are_recorded(clip):
    setting = SMALL.replace(clip=clip, iterations=2, batch_size=2)
    training = Training(setting)
    rows = training.order[0]
    prediction, _ = training.model(training.task.inputs[rows])
    training.task.loss(prediction, training.task.targets[rows]).backward()
    before = torch.cat([p.grad.flatten() for p in training.model.parameters()]).double()
    training.run(until=1)
    after = torch.cat([p.grad.flatten() for p in training.model.parameters()]).double()
    row = dict(zip(COLUMNS, training.history[0], strict=True))
    # The gradients are float32, with roundings of 6e-8, and the clipped ones are rounded once more.
    assert row["log10_norm"] == pytest.approx(math.log10(before.norm()), abs=1e-5)
    assert row["log10_clipped"] == pytest.approx(math.log10(after.norm()), abs=1e-5)
    assert row["cosine"] == pytest.approx(float(torch.cosine_similarity(before, after, dim=0)), abs=1e-5)
    assert (row["touched"] > 0) == (clip != "none")
    assert math.isnan(row["bound"]) == (clip == "none")


def test_all_variants_start_alike_and_read_the_same_data():
    one, other = Training(SMALL), Training(SMALL.replace(clip="norm:1"))
    assert same_weights(one.model, other.model)
    assert torch.equal(one.order, other.order)  # integers
    assert not same_weights(one.model, Training(SMALL.replace(seed=1)).model)


def test_init_std_draws_every_recurrent_weight_and_bias():
    model = Training(SMALL.replace(hidden_size=128, init_std=0.02)).model
    for parameter in model.recurrent.parameters():
        assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.25)
        assert abs(float(parameter.detach().mean())) < 0.02 * 4 / math.sqrt(parameter.numel())


def test_tiny_weights_lose_more_than_two_decades_a_step_and_training_extends_the_reach():
    training = trained(Setting(iterations=120, warm_up=3))
    assert [mark.iteration for mark in training.marks] == [0, 100, 120]
    slopes = [mark.flow.profile(path="h").verdict.decades_per_step for mark in training.marks]
    assert -2.8 < slopes[0] < -2.0
    assert slopes[1] > -0.7


@pytest.mark.parametrize("cell", KINDS)
def test_the_reach_at_the_start_is_that_of_gradient_flow(cell):
    training = Training(SMALL.replace(cell=cell, num_layers=2))
    expected = gradient_flow(training.model, training.task.inputs[:1])
    training.run()
    flow = training.marks[0].flow
    assert [profile.label for profile in flow] == [profile.label for profile in expected]
    for one, other in zip(flow, expected, strict=True):
        # One forward pass in float32, the same both times; what follows is float64, with roundings of 1e-16.
        np.testing.assert_allclose(one.log2_norm, other.log2_norm, rtol=1e-12, atol=1e-12)
    assert flow.log10_norm == pytest.approx(expected.log10_norm, abs=1e-6)


def test_looking_at_the_reach_changes_no_weight_and_leaves_no_gradient_and_no_hook():
    looked_at, other = Training(SMALL), Training(SMALL)
    for training in (looked_at, other):
        training.run(until=7)
    looked_at._mark()
    assert looked_at.marks[-1].iteration == 7
    assert all(parameter.grad is None for parameter in looked_at.model.parameters())
    assert not looked_at.model.recurrent._forward_hooks
    for training in (looked_at, other):
        training.run(until=20)
    assert same_weights(looked_at.model, other.model)
    np.testing.assert_array_equal(looked_at.history, other.history)  # as the weights are


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["recurrent.weight_hh_l0", "readout.weight"])
def test_weights_that_are_not_finite_have_no_reach_and_that_is_said(name, value):
    training = Training(SMALL.replace(signal="recall:3", init_std=None))
    with torch.no_grad():
        training.model.get_parameter(name)[0, 0] = value
    training._mark()
    (mark,) = training.marks
    assert mark.flow is None
    assert re.search("expected .*finite .* 'recurrent'", mark.problem)


def test_a_run_that_meets_nan_ends_there_and_is_kept():
    setting = SMALL.replace(
        cell="rnn_relu", init_std=None, init="identity", gain=40.0, length=40, optimizer="sgd", lr=1.0
    )
    training = trained(setting)
    assert training.finished
    assert training.iteration < setting.iterations
    assert f"iteration {training.iteration + 1}: " in training.problem
    run = Run.of(training, 0.0)
    assert len(run.history) == training.iteration + 1
    assert run.row()["outcome"] == "diverged"
    (mark,) = training.marks  # at the start, where the states of the first sequence are infinite as well
    assert (mark.iteration, mark.flow) == (0, None)
    assert re.search("finite states, got (inf|nan) in 'recurrent'", mark.problem)


def test_what_there_was_none_of_is_nan_in_every_record_and_never_0(tmp_path):
    """A run without a clip that stops in its first iteration, and a recall, which has no closed loop."""
    setting = SMALL.replace(
        cell="rnn_relu", init_std=None, init="identity", gain=40.0, length=40, optimizer="sgd", lr=1.0
    )
    stopped = Run.of(trained(setting), 0.0)
    figures = ["norm_median", "norm_p90", "norm_p99", "norm_max", "fired", "cosine", "accuracy"]
    assert [name for name in figures if not math.isnan(stopped.row()[name])] == []
    history = stopped.history_frame()
    assert history[["log10_norm", "log10_clipped", "touched", "cosine", "bound"]].isna().all(axis=None)
    recalled = Run.of(trained(Setting(signal="recall:3", length=4, init_std=None, iterations=2)), 0.0)
    assert math.isnan(recalled.row()["rmse"])
    assert math.isnan(recalled.row()["rmse_warm"])
    assert recalled.history_frame()["bound"].isna().all()
    study = Study((stopped, recalled), Environment.capture())
    study.save(tmp_path / "forecast.json")
    again = Study.load(tmp_path / "forecast.json")
    assert again.runs_frame().equals(study.runs_frame())
    assert study.table_frame().loc[0, figures].isna().all()
    assert math.isnan(study.table_frame().loc[1, "rmse"])


def test_recall_starts_every_sequence_from_zero_and_counts_what_is_named():
    setting = Setting(
        signal="recall:4", length=4, cell="gru", init_std=None, lr=0.02, iterations=60, batch_size=8
    )
    training = trained(setting)
    assert training.state is None
    model, _ = plain_training(setting)
    assert same_weights(training.model, model)
    run = Run.of(training, 0.0)
    assert run.accuracy == 1  # four of four
    assert run.row()["outcome"] in ("converged", "not converged")
    assert Run.of(Training(setting), 0.0).accuracy < 1
    assert math.isnan(run.row()["rmse"])


# The closed loop


def sample(state, k):
    """That of one sequence of a batch."""
    return tuple(part[:, k : k + 1] for part in state) if isinstance(state, tuple) else state[:, k : k + 1]


@torch.no_grad()
def explicit_loop(training, warm_up):
    """One step at a time, from the state that training left: the first points as they are, then predictions."""
    model, window = training.model, training.task.window
    state, predictions = sample(training.state, 0), []
    for step in range(len(window) - 1):
        point = window[step] if step < warm_up else predictions[-1]
        output, state = model.recurrent(point.view(1, 1, 1), state)
        predictions.append(model.readout(output).view(()))
    return torch.stack(predictions).double().numpy()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", KINDS)
def test_the_closed_loop_steps_on_from_the_state_that_training_left_and_reads_nothing_before_it(cell, layers):
    setting = SMALL.replace(cell=cell, num_layers=layers, batch_size=2, init_std=None)
    training = trained(setting)
    run = Run.of(training, 0.0)
    np.testing.assert_array_equal(run.window, training.task.window.double().numpy())  # a copy
    # The same steps one by one and at once, in float32: a dozen of them, each with some roundings of 6e-8.
    np.testing.assert_allclose(run.predictions, explicit_loop(training, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.warmed, explicit_loop(training, setting.warm_up), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", KINDS)
def test_where_the_closed_loop_begins_is_seen_in_its_first_prediction(cell):
    """The test above can fail: another state, or points read before the loop, leave other predictions."""
    training = trained(SMALL.replace(cell=cell, batch_size=2, init_std=None))
    model, window = training.model, training.task.window
    expected = explicit_loop(training, 1)
    _, read_on = model(window[:-1].view(1, -1, 1), sample(training.state, 0))
    for state in (None, sample(training.state, 1), read_on):
        assert abs(closed_loop(model, window, state)[0] - expected[0]) > 1e-4


def test_the_error_counts_from_the_last_true_point_on():
    window = np.arange(6.0)
    predictions = np.array([9.0, 9.0, 3.0, 5.0, 5.0])
    assert rmse(predictions, window, warm_up=3) == pytest.approx(math.sqrt(1 / 3))
    assert rmse(predictions, window) == pytest.approx(math.sqrt((64 + 49 + 0 + 1 + 0) / 5))


# Settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0}, "lr: .*got 0"),
        ({"lr": math.inf}, "lr: .*got inf"),
        ({"init_std": -1.0}, "init_std: .*got -1"),
        ({"length": 2}, "length: .*got 2"),
        (
            {"warm_up": 11},
            "warm_up: .*got 11",
        ),
        ({"iterations": 0}, "iterations: .*got 0"),
        ({"optimizer": "lbfgs"}, "optimizer: .*got 'lbfgs'"),
        ({"seed": -1}, "seed: .*got -1"),
        (
            {"gain": 2.0},
            r"init_std: .*got init_std 0\.001",
        ),
        (
            {"signal": "recall:1"},
            "signal: .*got 'recall:1'",
        ),
    ],
)
def test_what_is_no_setting(changes, message):
    with pytest.raises(InvalidValueError, match=message):
        SMALL.replace(**changes)


@pytest.mark.parametrize("changes", [{"lr": "fast"}, {"iterations": 2.5}, {"seed": True}])
def test_what_is_no_number(changes):
    with pytest.raises(InvalidTypeError):
        SMALL.replace(**changes)


@pytest.mark.cuda
def test_training_on_cuda_starts_from_the_same_weights():
    cuda = trained(SMALL.replace(device="cuda"))
    assert not cuda.problem
    assert column(cuda, "loss")[0] == pytest.approx(column(trained(SMALL), "loss")[0], rel=1e-4)
