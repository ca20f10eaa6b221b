"""The recurrences of `torch.nn`, linearised: one file per cell, one registry."""

from __future__ import annotations

from torch import nn

from unrolled.cells.gru import GRU, PushedGRU
from unrolled.cells.linearised import Buffers, Linearised
from unrolled.cells.lstm import LSTM, PushedLSTM
from unrolled.cells.push_forward import Layers, Push, PushForward, Steps
from unrolled.cells.rnn import RNN, PushedReluRNN, PushedRNN, ReluRNN
from unrolled.cells.weights import Weights, names

# The mode of a fused module (`nn.RNNBase.mode`) -> its linearisation. The mode in lower case is also the
# name of the fused function, such as `torch.rnn_tanh`.
RECURRENCES: dict[str, type[Linearised]] = {"RNN_TANH": RNN, "RNN_RELU": ReluRNN, "GRU": GRU, "LSTM": LSTM}
PUSHED: dict[str, type[PushForward]] = {
    "RNN_TANH": PushedRNN,
    "RNN_RELU": PushedReluRNN,
    "GRU": PushedGRU,
    "LSTM": PushedLSTM,
}


def recurrence_of(module: nn.RNNBase) -> type[Linearised]:
    """The linearisation of a recurrent module's cell."""
    return RECURRENCES[module.mode]


__all__ = [
    "PUSHED",
    "RECURRENCES",
    "Buffers",
    "Layers",
    "Linearised",
    "Push",
    "PushForward",
    "Steps",
    "Weights",
    "names",
    "recurrence_of",
]
