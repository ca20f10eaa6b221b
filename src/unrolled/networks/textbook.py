"""Networks whose reach is worth a look: a workload, and how its recurrent weights start out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from unrolled.cells import title_of
from unrolled.cells.initialisation import Init, check_start, initialise
from unrolled.networks.record import NetworkRecord
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
        check_start(self.workload.cell, self.init, self.gain, self.forget_bias)

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

    def record(self) -> NetworkRecord:
        """What results say of it."""
        return NetworkRecord(
            name=self.name,
            seed=self.workload.seed,
            workload=self.workload,
            init=str(self.init),
            gain=self.gain,
            forget_bias=self.forget_bias,
        )


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
        name=f"RNN orthogonal × {gain:g}",
        workload=workload.replace(cell="rnn_tanh"),
        init=Init("orthogonal"),
        gain=gain,
    )


def memory_networks(workload: Workload, delay: int) -> tuple[Network, ...]:
    """Each cell as torch starts it, and started for memories of up to `delay` steps."""
    return (
        described(workload, "rnn_tanh"),
        described(workload, "rnn_tanh", "orthogonal"),
        described(workload, "rnn_relu", "identity"),
        described(workload, "gru"),
        described(workload, "lstm"),
        described(workload, "lstm", f"chrono:{max(delay, 3)}"),
    )
