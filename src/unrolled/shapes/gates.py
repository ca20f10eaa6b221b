"""Which rows of a weight or bias belong to which gate: the order in which `torch.nn` stacks them.

From the documentation of `nn.RNN`, `nn.GRU` and `nn.LSTM`: `weight_ih_l[k]` is `(W_ir|W_iz|W_in)` for the
GRU and `(W_ii|W_if|W_ig|W_io)` for the LSTM, and so are `weight_hh_l[k]` and both biases, `hidden_size`
rows each. Other libraries stack them in other orders.
"""

from __future__ import annotations

from dataclasses import dataclass

# Cell -> its gates from the first row down, as (letter of the documentation, what it does).
GATES_IN_ORDER = {
    "rnn_tanh": (("h", "hidden state"),),
    "rnn_relu": (("h", "hidden state"),),
    "gru": (("r", "reset gate"), ("z", "update gate"), ("n", "new gate")),
    "lstm": (("i", "input gate"), ("f", "forget gate"), ("g", "cell gate"), ("o", "output gate")),
}
PROJECTED = ("h", "hidden state, projected")


@dataclass(frozen=True)
class Rows:
    """Rows `start` to `stop - 1` of a parameter, and the gate that they make."""

    gate: str
    meaning: str
    start: int
    stop: int


def rows_of(cell: str, kind: str, length: int) -> tuple[Rows, ...]:
    """The gates in the `length` rows of a `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh` or `weight_hr`."""
    gates = (PROJECTED,) if kind == "weight_hr" else GATES_IN_ORDER[cell]
    size = length // len(gates)
    return tuple(Rows(*gate, k * size, (k + 1) * size) for k, gate in enumerate(gates))
