"""Which rows of a weight or bias belong to which gate: the order in which `torch.nn` stacks them.

From the documentation of `nn.RNN`, `nn.GRU` and `nn.LSTM`: `weight_ih_l[k]` is `(W_ir|W_iz|W_in)` for the
GRU and `(W_ii|W_if|W_ig|W_io)` for the LSTM, and so are `weight_hh_l[k]` and both biases, `hidden_size`
rows each. Other libraries stack them in other orders.
"""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.cells import cell_named


@dataclass(frozen=True)
class Rows:
    """Rows `start` to `stop - 1` of a parameter, and the gate that they make."""

    gate: str
    meaning: str
    start: int
    stop: int


def rows_of(cell: str, kind: str, length: int) -> tuple[Rows, ...]:
    """The gates in the `length` rows of a `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh` or `weight_hr`."""
    if kind == "weight_hr":
        return (Rows("h", "hidden state, projected", 0, length),)
    gates = cell_named(cell).gates
    size = length // len(gates)
    return tuple(Rows(gate.letter, gate.meaning, k * size, (k + 1) * size) for k, gate in enumerate(gates))
