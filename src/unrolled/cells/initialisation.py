"""Ways for recurrent weights to start out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cells import CELLS, cell_named
from unrolled.errors import InvalidTypeError, InvalidValueError

INITS = "default, orthogonal, identity, normal:STD or chrono:T"
EXAMPLE = {"normal": "0.1", "chrono": "200"}


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
                + (f"write {self.kind}:{EXAMPLE[self.kind]}" if takes_number else f"write {self.kind}")
            )
        if self.number is None:
            return
        least = 0 if self.kind == "normal" else 2
        if not (math.isfinite(self.number) and self.number > least):
            raise InvalidValueError(
                f"init: expected a number above {least} after {self.kind}:, got {self.number:g}; "
                f"try {self.kind}:{EXAMPLE[self.kind]}"
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


def check_start(cell: str, init: Init, gain: float, forget_bias: float | None) -> None:
    """Raise `InvalidTypeError` or `InvalidValueError` for a start that the cell of this name does not have."""
    for label, value in (("gain", gain), ("forget bias", forget_bias)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InvalidTypeError(f"{label}: expected a number, got {value!r}")
    if not (math.isfinite(gain) and gain > 0):
        raise InvalidValueError(f"gain: expected a number above 0, got {gain}; 1 changes nothing")
    changed = str(init) if init != Init() else f"gain {gain:g}" if gain != 1 else None
    changed = changed if forget_bias is None else f"forget bias {forget_bias:g}"
    if cell not in CELLS:
        if changed:
            raise InvalidValueError(
                f"cell {cell}: expected to start as it does itself, got {changed}; leave it out, and set the weights "
                "where the cell is made"
            )
        return
    if forget_bias is not None and not cell_named(cell).has_forget_gate:
        raise InvalidValueError(
            f"forget bias: expected cell lstm, got {cell}, which has no forget gate; use lstm"
        )
    if forget_bias is not None and not math.isfinite(forget_bias):
        raise InvalidValueError(
            f"forget bias: expected a finite number, got {forget_bias}; 3 keeps 95 % a step"
        )
    if init.kind == "chrono" and cell_named(cell).keeps is None:
        raise InvalidValueError(
            f"init: expected cell lstm or gru for {init}, got {cell}, which has no gates; use lstm"
        )


@torch.no_grad()
def initialise(
    module: nn.Module,
    cell: str,
    init: Init,
    gain: float,
    forget_bias: float | None,
    generator: torch.Generator,
) -> None:
    """Set recurrent weights, times `gain`, and gate biases of a fused module, in place."""
    kind = cell_named(cell)
    gates = len(kind.gates)
    parameters = dict(module.named_parameters())
    for name, parameter in parameters.items():
        if name.startswith("weight_hh"):
            for block in parameter.chunk(gates):
                _start(block, init, generator)
                block.mul_(gain)
        elif init.kind == "identity" and name.startswith("bias"):
            parameter.zero_()
    for name in (name for name in parameters if name.startswith("bias_ih")):
        ours = parameters[name].chunk(gates)
        theirs = parameters[name.replace("bias_ih", "bias_hh")].chunk(gates)  # torch adds the two
        if init.kind == "chrono" and init.number is not None:
            u = torch.empty(len(ours[0]), dtype=torch.float64)
            u.uniform_(1, init.number - 1, generator=generator)
            for letter, value in ((kind.keeps, u.log()), (kind.lets_in, -u.log())):
                if letter is not None:
                    _set_bias(ours, theirs, kind.number_of(letter), value)
        if forget_bias is not None and kind.keeps is not None:
            _set_bias(ours, theirs, kind.number_of(kind.keeps), torch.tensor(forget_bias))


def _start(block: Tensor, init: Init, generator: torch.Generator) -> None:
    """The recurrent weights of one gate, drawn in float64 on the CPU as all weights are."""
    drawn = torch.empty(block.shape, dtype=torch.float64)
    if init.kind == "orthogonal":
        block.copy_(nn.init.orthogonal_(drawn, generator=generator))
    elif init.kind == "identity":
        block.copy_(nn.init.eye_(drawn))
    elif init.kind == "normal" and init.number is not None:
        block.copy_(nn.init.normal_(drawn, std=init.number, generator=generator))


def _set_bias(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], gate: int, value: Tensor) -> None:
    ours[gate].copy_(value)
    theirs[gate].zero_()
