"""One training: what it starts from, what it follows, and when it has learned."""

import math

import pytest
import torch

from unrolled import Workload
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.gradients import gradient_flow
from unrolled.learning.settings import Settings
from unrolled.learning.training import Horizon, Training, horizon, make_reader, seeded
from unrolled.networks.textbook import described

SMALL = {"delays": (3,), "seeds": 2, "iterations": 60, "batch_size": 8, "lr": 0.01}
CELLS = ["rnn_tanh", "rnn_relu", "gru", "lstm"]


def network(cell="rnn_tanh", init=None, task="recall", **changes):
    settings = Settings(task=task)
    workload = Workload(
        cell=cell, input_size=settings.of.inputs, hidden_size=8, batch_size=8, seq_len=7, num_layers=1
    ).replace(**changes)
    return described(workload, cell, init)


def weights(training):
    return torch.cat([parameter.detach().flatten() for parameter in training.reader.parameters()])


@pytest.mark.parametrize("cell", CELLS)
def test_a_training_is_adam_on_fresh_sequences_written_out(cell):
    """In float64, with torch's own module, loss, clip and optimizer."""
    settings = Settings(**SMALL | {"iterations": 25, "clip": "norm:0.1"})
    net = network(cell, dtype="float64")
    training = Training(net, settings, 3)
    plain = make_reader(net, settings.of.outputs)
    optimizer = torch.optim.Adam(plain.parameters(), lr=settings.lr)
    generator = torch.Generator().manual_seed(net.workload.seed + 1_000_003 * (12 + 3))
    for _ in range(25):
        x, target = settings.of.draw(3, 8, generator)
        optimizer.zero_grad()
        settings.of.loss(plain(x.double()), target).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
        optimizer.step()
    training.run()
    expected = torch.cat([parameter.detach().flatten() for parameter in plain.parameters()])
    # clip_grad_norm_ divides by the norm and 1e-6, which is 1e-5 of a step of 0.01
    torch.testing.assert_close(weights(training), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("task", ["recall", "copy", "adding", "xor"])
def test_every_task_is_trained_on_and_its_loss_falls(task):
    settings = Settings(task=task, **SMALL | {"iterations": 200, "lr": 0.01})
    training = Training(network("lstm", task=task), settings, 3)
    first = training._look()
    learned = training.run()
    assert training.loss < 0.8 * first
    assert learned == (training.loss <= 0.1 * settings.of.baseline(3))


def test_it_stops_at_the_first_look_at_which_it_has_learned():
    training = Training(network("gru"), Settings(**SMALL | {"iterations": 1000}), 3)
    trial = training.trial()
    assert trial.learned
    assert trial.iterations < 1000
    assert trial.iterations % 25 == 0
    assert trial.loss <= 0.1 * math.log(4)


@pytest.mark.parametrize("clip", ["none", "norm:1", "step:1", "zclip:2.5", "agc:0.01", "auto:10", "value:0.1"])
def test_every_clip_trains(clip):
    training = Training(network("gru"), Settings(**SMALL | {"clip": clip, "iterations": 25}), 3)
    before = weights(training)
    training.run()
    assert training.iteration == 25
    assert not torch.equal(before, weights(training))


def test_a_clip_changes_what_is_learned_and_one_that_never_acts_does_not():
    def trained(clip):
        training = Training(network(), Settings(**SMALL | {"clip": clip, "iterations": 25}), 3)
        training.run()
        return weights(training)

    assert torch.equal(trained("none"), trained("norm:1000"))
    assert not torch.equal(trained("none"), trained("norm:0.01"))


def test_seeds_decide_about_weights_and_data_and_nothing_else_does():
    settings = Settings(**SMALL)
    one, again, other = (Training(seeded(network(), seed), settings, 3) for seed in (4, 4, 5))
    torch.rand(3)
    for training in (one, again, other):
        training.run()
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(other))


def test_a_clip_does_not_change_the_start():
    starts = [
        weights(Training(network(), Settings(**SMALL | {"clip": clip}), 3)) for clip in ("none", "norm:1")
    ]
    assert torch.equal(*starts)


def test_nan_ends_a_training_and_is_told():
    training = Training(network("rnn_relu"), Settings(**SMALL | {"lr": 1e30, "clip": "none"}), 3)
    trial = training.trial()
    assert not trial.learned
    assert trial.problem.startswith("iteration ")
    assert trial.after == Horizon(None, 7)


@pytest.mark.parametrize("cell", CELLS)
def test_the_horizon_is_that_of_gradient_flow_on_the_tasks_own_sequences(cell):
    settings, net = Settings(delays=(3, 50)), network(cell)
    found = horizon(net, net.module(), settings)
    x, _ = settings.of.draw(100, 8, torch.Generator().manual_seed(1_000_003 * 14))
    profile = next(p for p in gradient_flow(net.module(), x) if p.path == "h")
    assert found == Horizon(profile.verdict.horizon, 101)


def test_a_horizon_of_all_steps_is_a_lower_bound():
    assert Horizon(100, 101).is_censored
    assert not Horizon(99, 101).is_censored
    assert not Horizon(None, 101).is_censored


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"task": "sums"}, "task: expected one of recall"),
        ({"delays": (10, 5)}, "delays: expected increasing numbers of steps, from 1 on, got 10,5"),
        ({"delays": ()}, "delays: expected increasing numbers of steps, from 1 on, got none"),
        ({"delays": (5, 5)}, "got 5,5"),
        ({"delays": (0, 5)}, "delays: expected an integer of at least 1, got 0"),
        ({"task": "adding", "delays": (1, 5)}, "from 2 on, got 1,5"),
        ({"seeds": 0}, "seeds: expected an integer"),
        ({"lr": -1.0}, "lr: expected a number above 0, got -1"),
        ({"lr": math.nan}, "lr: expected a number above 0, got nan"),
        ({"clip": "norms:1"}, "clip"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused(wrong, words):
    with pytest.raises(InvalidValueError, match=words):
        Settings(**wrong)


@pytest.mark.parametrize("wrong", [{"lr": "0.1"}, {"clip": None}, {"delays": ("5",)}, {"seeds": True}])
def test_settings_of_another_kind_are_refused(wrong):
    with pytest.raises(InvalidTypeError):
        Settings(**wrong)
