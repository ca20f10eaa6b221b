"""The job `learn`: whether one network learns a task of known delay, and its horizon before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unrolled.sweep.jobs.job import Column, Job, Parameter, Settings
from unrolled.sweep.jobs.network import CELL, FORGET_BIAS, GAIN, HIDDEN, INIT, LAYERS, network_of

if TYPE_CHECKING:
    from unrolled.learning.settings import Settings as Training
    from unrolled.networks.textbook import Network


def check(settings: Settings) -> None:
    """Raise for what cannot be trained."""
    _network(settings, _training(settings), 0).workload.check_memory()


def measure(settings: Settings, seed: int) -> dict[str, Any]:
    """One training, as `unrolled learn` makes it."""
    from unrolled.learning.training import Training, horizon

    training = _training(settings)
    network = _network(settings, training, seed)
    before = horizon(network, network.module(), training)
    trial = Training(network, training, settings["delay"]).trial()
    return {
        "learned": trial.learned,
        "took": trial.iterations if trial.learned else None,
        "loss": trial.loss,
        "horizon_before": before.lag,
        "horizon_after": trial.after.lag,
        "problem": trial.problem,
    }


def _training(settings: Settings) -> Training:
    from unrolled.learning.settings import Settings as Training

    return Training(
        task=settings["task"], delays=(settings["delay"],), seeds=1, iterations=settings["iterations"],
        batch_size=settings["batch"], lr=settings["lr"], clip=settings["clip"],
    )  # fmt: skip


def _network(settings: Settings, training: Training, seed: int) -> Network:
    steps = training.of.steps(training.reach_delay)
    return network_of({**settings, "length": steps}, training.of.inputs, seed)


JOB = Job(
    name="learn",
    version=1,
    what="what is learned",
    parameters=(
        Parameter("task", "word", "recall", "recall, copy, adding or xor"),
        Parameter("delay", "integer", 20, "of the task"),
        CELL,
        Parameter("hidden", "integer", 32, HIDDEN.help),
        LAYERS, INIT, GAIN, FORGET_BIAS,
        Parameter("batch", "integer", 16, "sequences at a time"),
        Parameter("iterations", "integer", 200, "at most"),
        Parameter("lr", "number", 0.005, "of Adam"),
        Parameter("clip", "word", "norm:1", "as in unrolled learn"),
    ),
    columns=(
        Column("learned", "share of seeds that learned it", kind="flag"),
        Column("took", "iterations to it"),
        Column("loss", "held-out loss"),
        Column("horizon_before", "horizon before training", "steps"),
        Column("horizon_after", "horizon after training", "steps"),
    ),
    shown="learned",
    check=check,
    measure=measure,
)  # fmt: skip
