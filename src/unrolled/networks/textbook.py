"""Networks whose reach is worth a look: a workload, and how its recurrent weights start out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unrolled.cells import cell_named, title_of
from unrolled.cells.initialisation import Init, initialise
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.networks.workload import Workload

TORCHS_OWN = Init()
WEIGHTS_STREAM = 3  # of the workload's random numbers; 1 and 2 are its input and target


@dataclass(frozen=True, kw_only=True)
class Network:
    """A named workload with its initialisation: the same seed makes the same weights and input.

    `gain` multiplies every recurrent weight after `init`; `forget_bias` is what an LSTM's forget gate adds
    up to from both of torch's biases. Raises `InvalidValueError` for what the cell does not have.
    """

    name: str
    workload: Workload
    init: Init = TORCHS_OWN
    gain: float = 1.0
    forget_bias: float | None = None
    cells: ClassVar[tuple[type[nn.Module], ...]] = ()  # besides those that are found without a name

    def __post_init__(self) -> None:
        for label, value in (("gain", self.gain), ("forget bias", self.forget_bias)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise InvalidTypeError(f"{label}: expected a number, got {value!r}")
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise InvalidValueError(f"gain: expected a number above 0, got {self.gain}; 1 changes nothing")
        cell = self.workload.cell
        changed = (
            str(self.init) if self.init != TORCHS_OWN else f"gain {self.gain:g}" if self.gain != 1 else None
        )
        changed = changed if self.forget_bias is None else f"forget bias {self.forget_bias:g}"
        if self.workload.is_own and changed:
            raise InvalidValueError(
                f"cell {cell}: expected to start as it does itself, got {changed}; leave it out, and set the weights "
                "where the cell is made"
            )
        if self.forget_bias is not None and not cell_named(cell).has_forget_gate:
            raise InvalidValueError(
                f"forget bias: expected cell lstm, got {cell}, which has no forget gate; use lstm"
            )
        if self.forget_bias is not None and not math.isfinite(self.forget_bias):
            raise InvalidValueError(
                f"forget bias: expected a finite number, got {self.forget_bias}; 3 keeps 95 % a step"
            )
        if self.init.kind == "chrono" and cell_named(cell).keeps is None:
            raise InvalidValueError(
                f"init: expected cell lstm or gru for {self.init}, got {cell}, which has no gates; use lstm"
            )

    def module(self) -> nn.Module:
        """The module, initialised; that of anybody's cell starts as it does itself."""
        module = self.workload.reference()
        if self.workload.is_own:
            return module
        generator = torch.Generator().manual_seed(self.workload.seed + 1_000_003 * WEIGHTS_STREAM)
        initialise(module, self.workload.cell, self.init, self.gain, self.forget_bias, generator)
        return module

    def input(self, length: int | None = None) -> Tensor:
        """The workload's input `(T, B, I)`, or as many steps of it, or more, as asked for."""
        workload = self.workload if length is None else self.workload.replace(seq_len=length)
        return workload.input()

    @property
    def sizes(self) -> str:
        """For the foot of a plot."""
        w = self.workload
        return (
            f"{w.layers} layer{'s' * (w.layers > 1)}{', both ways' * w.bidirectional}, input {w.input_size}, "
            f"hidden {w.hidden_size}, batch {w.batch_size}, {w.dtype}, {w.device}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "workload": self.workload.to_dict(),
            "init": str(self.init),
            "gain": self.gain,
            "forget_bias": self.forget_bias,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Network:
        """The inverse of `to_dict`, also after a trip through JSON."""
        workload, init = Workload.from_dict(fields["workload"]), Init.parse(fields["init"])
        return cls(**{**fields, "workload": workload, "init": init})


def described(
    workload: Workload,
    cell: str | None = None,
    init: str | None = None,
    gain: float | None = None,
    forget_bias: float | None = None,
) -> Network:
    """One network by what was said about it, and named after that.

    With no cell, what only gates have asks for an `lstm`, and anything else for an `rnn_tanh`.
    """
    start = TORCHS_OWN if init is None else Init.parse(init)
    gated = forget_bias is not None or start.kind == "chrono"
    cell = cell or ("lstm" if gated else "rnn_tanh")
    words = [
        title_of(cell),
        "" if init is None else str(start),
        "" if gain is None else f"gain {gain:g}",
        "" if forget_bias is None else f"forget bias {forget_bias:g}",
    ]
    return Network(
        name=", ".join(word for word in words if word),
        workload=workload.replace(cell=cell),
        init=start,
        gain=1.0 if gain is None else gain,
        forget_bias=forget_bias,
    )


def networks(workload: Workload) -> tuple[Network, ...]:
    """The textbook: what vanishes, what holds and what explodes, at the sizes of `workload`."""
    tanh, relu, gru, lstm = (workload.replace(cell=cell) for cell in ("rnn_tanh", "rnn_relu", "gru", "lstm"))
    return (
        Network(name="RNN tanh", workload=tanh),
        *(orthogonal(workload, gain) for gain in (0.5, 1.0, 2.0)),
        Network(name="RNN relu, identity", workload=relu, init=Init("identity")),
        Network(name="GRU", workload=gru),
        Network(name="LSTM", workload=lstm),
        Network(name="LSTM, forget bias 3", workload=lstm, forget_bias=3.0),
    )


def length_networks(workload: Workload) -> tuple[Network, ...]:
    """One network that vanishes, one that holds, and two that explode, the second beyond float32."""
    relu = workload.replace(cell="rnn_relu")
    return (
        orthogonal(workload, 0.5),
        Network(name="RNN relu, identity", workload=relu, init=Init("identity")),
        orthogonal(workload, 2.0),
        orthogonal(workload, 4.0),
    )


def orthogonal(workload: Workload, gain: float) -> Network:
    """A tanh RNN whose recurrent weights are `gain` times an orthogonal matrix."""
    return Network(
        name=f"RNN orthogonal ×{gain:g}",
        workload=workload.replace(cell="rnn_tanh"),
        init=Init("orthogonal"),
        gain=gain,
    )
