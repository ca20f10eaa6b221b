"""Networks whose reach is worth a look: a workload, and how its recurrent weights start out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.workload import GATES, Workload

INITS = "default, orthogonal, identity, normal:STD or chrono:T"
WEIGHTS_STREAM = 3  # of the workload's random numbers; 1 and 2 are its input and target

# Where a gate that keeps the state stands among the stacked gates: torch's order is i f g o and r z n.
FORGET_GATE = {"lstm": 1, "gru": 1}
INPUT_GATE = {"lstm": 0}


@dataclass(frozen=True)
class Init:
    """How the recurrent weights start out, checked when made.

    default      as torch does it, uniform between ±1/sqrt(H)
    orthogonal   a random orthogonal matrix for each gate (Saxe, McClelland, Ganguli 2014)
    identity     the identity matrix for each gate, and no biases (Le, Jaitly, Hinton 2015)
    normal:STD   each entry drawn from N(0, STD²)
    chrono:T     gate biases that remember for 1 to T - 1 steps (Tallec, Ollivier 2018); LSTM and GRU only
    """

    kind: str = "default"
    number: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("default", "orthogonal", "identity", "normal", "chrono"):
            raise InvalidValueError(f"init: expected {INITS}, got {self.kind!r}; try orthogonal")
        takes_number = self.kind in ("normal", "chrono")
        if takes_number != (self.number is not None):
            raise InvalidValueError(
                f"init: expected {INITS}, got {self}; "
                + (f"write {self.kind}:{_EXAMPLE[self.kind]}" if takes_number else f"write {self.kind}")
            )
        if self.number is None:
            return
        least = 0 if self.kind == "normal" else 2
        if not (math.isfinite(self.number) and self.number > least):
            raise InvalidValueError(
                f"init: expected a number above {least} after {self.kind}:, got {self.number:g}; "
                f"try {self.kind}:{_EXAMPLE[self.kind]}"
            )

    def __str__(self) -> str:
        return self.kind if self.number is None else f"{self.kind}:{self.number:g}"

    @classmethod
    def parse(cls, spec: str) -> Init:
        """From `default`, `orthogonal`, `identity`, `normal:0.1`, `chrono:200`."""
        kind, colon, number = spec.strip().partition(":")
        try:
            return cls(kind, float(number) if colon else None)
        except InvalidValueError:
            raise
        except ValueError:
            raise InvalidValueError(
                f"init: expected a number after {kind}:, got {number!r}; expected is {INITS}"
            ) from None


_EXAMPLE = {"normal": "0.1", "chrono": "200"}


@dataclass(frozen=True, kw_only=True)
class Network:
    """A named workload with its initialisation: the same seed makes the same weights and input.

    `gain` multiplies every recurrent weight after `init`; `forget_bias` is what an LSTM's forget gate adds
    up to from both of torch's biases. Raises `InvalidValueError` for what the cell does not have.
    """

    name: str
    workload: Workload
    init: Init = Init()
    gain: float = 1.0
    forget_bias: float | None = None

    def __post_init__(self) -> None:
        for label, value in (("gain", self.gain), ("forget bias", self.forget_bias)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise InvalidTypeError(f"{label}: expected a number, got {value!r}")
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise InvalidValueError(f"gain: expected a number above 0, got {self.gain}; 1 changes nothing")
        cell = self.workload.cell
        if self.forget_bias is not None and cell != "lstm":
            raise InvalidValueError(
                f"forget bias: expected cell lstm, got {cell}, which has no forget gate; use lstm"
            )
        if self.forget_bias is not None and not math.isfinite(self.forget_bias):
            raise InvalidValueError(
                f"forget bias: expected a finite number, got {self.forget_bias}; 3 keeps 95 % a step"
            )
        if self.init.kind == "chrono" and cell not in FORGET_GATE:
            raise InvalidValueError(
                f"init: expected cell lstm or gru for {self.init}, got {cell}, which has no gates; use lstm"
            )

    def module(self) -> nn.Module:
        """The fused module, initialised."""
        module = self.workload.reference()
        generator = torch.Generator().manual_seed(self.workload.seed + 1_000_003 * WEIGHTS_STREAM)
        gates = GATES[self.workload.cell]
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name.startswith("weight_hh"):
                    for block in parameter.chunk(gates):
                        self._start(block, generator)
                elif name.startswith("bias") and self.init.kind == "identity":
                    parameter.zero_()
            self._set_gates(module, generator)
        return module

    def _start(self, block: Tensor, generator: torch.Generator) -> None:
        """The recurrent weights of one gate, drawn in float64 on the CPU as all weights are."""
        drawn = torch.empty(block.shape, dtype=torch.float64)
        if self.init.kind == "orthogonal":
            block.copy_(nn.init.orthogonal_(drawn, generator=generator))
        elif self.init.kind == "identity":
            block.copy_(nn.init.eye_(drawn))
        elif self.init.kind == "normal" and self.init.number is not None:
            block.copy_(nn.init.normal_(drawn, std=self.init.number, generator=generator))
        block.mul_(self.gain)

    def _set_gates(self, module: nn.Module, generator: torch.Generator) -> None:
        cell, gates = self.workload.cell, GATES[self.workload.cell]
        parameters = dict(module.named_parameters())
        for name in (name for name in parameters if name.startswith("bias_ih")):
            ours = parameters[name].chunk(gates)
            theirs = parameters[name.replace("bias_ih", "bias_hh")].chunk(gates)  # torch adds the two
            if self.init.kind == "chrono" and self.init.number is not None:
                u = torch.empty(len(ours[0]), dtype=torch.float64)
                u.uniform_(1, self.init.number - 1, generator=generator)
                _set_bias(ours, theirs, FORGET_GATE[cell], u.log())
                if cell in INPUT_GATE:
                    _set_bias(ours, theirs, INPUT_GATE[cell], -u.log())
            if self.forget_bias is not None:
                _set_bias(ours, theirs, FORGET_GATE[cell], torch.tensor(self.forget_bias))

    def input(self, length: int | None = None) -> Tensor:
        """The workload's input `(T, B, I)`, or as many steps of it, or more, as asked for."""
        workload = self.workload if length is None else self.workload.replace(seq_len=length)
        return workload.input()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "workload": self.workload.to_dict(),
            "init": str(self.init),
            "gain": self.gain,
            "forget_bias": self.forget_bias,
        }


def _set_bias(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], gate: int, value: Tensor) -> None:
    ours[gate].copy_(value)
    theirs[gate].zero_()


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
        name=f"RNN tanh, gain {gain:g}",
        workload=workload.replace(cell="rnn_tanh"),
        init=Init("orthogonal"),
        gain=gain,
    )
