"""The settings that describe a network, which jobs share, and the network that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.sweep.jobs.job import Parameter, Settings

if TYPE_CHECKING:
    from unrolled.networks.textbook import Network
    from unrolled.networks.workload import Workload

CELL = Parameter("cell", "word", "rnn_tanh", "the recurrence")
HIDDEN = Parameter("hidden", "integer", 64, "hidden units")
LAYERS = Parameter("layers", "integer", 1, "recurrent layers")
INIT = Parameter("init", "word", None, "default, orthogonal, identity, normal:STD or chrono:T")
GAIN = Parameter("gain", "number", 1.0, "factor on all recurrent weights")
FORGET_BIAS = Parameter("forget_bias", "number", None, "of an LSTM, both biases together")


def workload_of(settings: Settings, features: int, seed: int) -> Workload:
    """The sizes, checked, with so many features of the input."""
    from unrolled.networks.workload import Workload

    return Workload(
        cell=settings["cell"],
        input_size=features,
        hidden_size=settings["hidden"],
        num_layers=settings["layers"],
        batch_size=settings["batch"],
        seq_len=settings["length"],
        seed=seed,
    )


def network_of(settings: Settings, features: int, seed: int) -> Network:
    """The network, as `unrolled gradflow` and `unrolled spectrum` make it from options of the same names.

    Of no `init` torch's own is taken. A cell of somebody's own has no gain.
    """
    from unrolled.networks.textbook import described

    workload = workload_of(settings, features, seed)
    gain = None if workload.is_own and settings["gain"] == 1 else settings["gain"]
    return described(workload, settings["cell"], settings["init"], gain, settings["forget_bias"])
