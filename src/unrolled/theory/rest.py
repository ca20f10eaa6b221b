"""Exponents of a network at rest: no input, no bias, all states 0, where the Jacobian is known in advance."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from unrolled.cells import cell_named, cell_of
from unrolled.cells.weights import Weights, read
from unrolled.errors import InvalidTypeError, InvalidValueError

# torch draws recurrent weights from U(-1/√H, 1/√H): variance 1/3H, so a spectral radius of 1/√3 as H → ∞
# (circular law: Girko 1984; Tao, Vu 2010).
DEFAULT_GAIN = 1 / math.sqrt(3)


def exponent_at_rest(cell: str, gain: float = DEFAULT_GAIN) -> float:
    """The largest exponent of a large random network at rest, in nats per step.

    `rnn_tanh`: ln g. `gru` and `lstm`: ln(½ + g/4), as their gates are half open. `gain` is the spectral
    radius g of random recurrent weights (of the new gate, or of the cell gate), by default that of torch's
    own initialisation: -½ ln 3 = -0.549, and ln(½ + 1/(4√3)) = -0.440.

    It applies as H → ∞, without input and biases, and where the network does come to rest: g < 1 for a tanh
    RNN, g < 2 for the gated cells. Raises `InvalidValueError` for another cell, as a relu has no slope at 0,
    or a gain that is not above 0.
    """
    at_rest = cell_named(cell).at_rest
    if at_rest is None:
        raise InvalidValueError(f"cell: expected one with a slope at rest, got {cell!r}; try rnn_tanh")
    if not (math.isfinite(gain) and gain > 0):
        raise InvalidValueError(f"gain: expected a number above 0, got {gain}; try 1")
    kept, written = at_rest
    return math.log(kept + written * gain)


def exponents_at_rest(module: nn.RNNBase, layer: int = 0, direction: str = "forward") -> np.ndarray:
    """All exponents of a layer at rest, from the largest down, by its own weights: `ln |eig_i(J)|`.

    With U the recurrent weights of a tanh RNN J = U; with U those of a GRU's new gate J = I/2 + U/4; with U
    those of an LSTM's cell gate (times its projection) its (h, c) has the eigenvalues of I/2 + U/4, and 0,
    hence `-inf`, for all others. Nats per step; as many as the state has numbers: H, or H + H for an LSTM.

    It follows from the definitions of the cells in `torch.nn`, all gates being ½ at 0. It applies to a zero
    state without input; biases are taken for 0, whatever they are. Raises `InvalidTypeError` for relu, which
    has no slope at 0, and `InvalidValueError` for a layer there is not or weights that are not finite.
    """
    cell = cell_of(module)
    if not isinstance(module, nn.RNNBase) or cell.at_rest is None:
        raise InvalidTypeError(
            f"module: expected a tanh nn.RNN, an nn.GRU or an nn.LSTM, got {type(module).__name__}, {cell.name}; "
            "measure it"
        )
    known = ("forward", "reverse")[: 2 if module.bidirectional else 1]
    if not 0 <= layer < module.num_layers or direction not in known:
        raise InvalidValueError(
            f"layer: expected one of 0 to {module.num_layers - 1} and a direction of {', '.join(known)}, got "
            f"{layer}, {direction!r}; see num_layers and bidirectional"
        )
    weights = Weights.of(read(module), layer, direction == "reverse").to(torch.float64)
    recurrent = weights.weight_hh.chunk(len(cell.gates))[cell.number_of(cell.candidate)]
    if weights.weight_hr is not None:
        recurrent = recurrent @ weights.weight_hr
    kept, written = cell.at_rest
    recurrent = written * recurrent + kept * torch.eye(len(recurrent)).to(recurrent)
    if not bool(torch.isfinite(recurrent).all()):
        raise InvalidValueError("module: expected finite weights, got NaN or inf in weight_hh; reload them")
    found = log_moduli(recurrent.cpu().numpy())
    lost = sum(cell.state_sizes(module.hidden_size, module.proj_size)) - len(found)
    return np.concatenate([found, np.full(lost, -np.inf)])


def log_moduli(matrix: np.ndarray) -> np.ndarray:
    """`ln |eig_i|`, from the largest down; `-inf` for an eigenvalue of 0."""
    with np.errstate(divide="ignore"):
        found: np.ndarray = np.sort(np.log(np.abs(np.linalg.eigvals(matrix))))[::-1]
    return found
