"""The largest exponent over the gain of the recurrent weights: where order ends and chaos begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from unrolled.cells.initialisation import Init
from unrolled.errors import InvalidValueError, NonFiniteError
from unrolled.networks.textbook import Network
from unrolled.networks.workload import Workload
from unrolled.output.files import number, plain
from unrolled.spectrum.drive import driven
from unrolled.spectrum.lyapunov import lyapunov_spectrum
from unrolled.spectrum.result import RANDOM, Settings
from unrolled.theory import DEFAULT_GAIN, mean_field, transition_gain

DEFAULT_GAINS = (0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 2.5)
REALISATIONS = 4  # networks per gain, from consecutive seeds, as networks of finite size differ
LINE = 61  # points of the line of theory


class Unbiased(Network):
    """A network without biases."""

    def module(self) -> nn.Module:
        """The fused module, initialised, with biases of 0."""
        module = super().module()
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name.startswith("bias"):
                    parameter.zero_()
        return module


def gaussian(workload: Workload) -> Network:
    """`h_t = tanh(W h_{t-1} + W_ih x_t)`, `W_ij ~ N(0, 1/N)`: Sompolinsky, Crisanti, Sommers 1988 at gain 1."""
    size = workload.hidden_sizes[0]
    return Unbiased(
        name="RNN tanh, Gaussian",
        workload=workload.replace(cell="rnn_tanh"),
        init=Init("normal", 1 / math.sqrt(size)),
    )


@dataclass(frozen=True, eq=False)
class GainCurve:
    """The largest exponents at `gains[i]` are `exponents[i]`, by realisation and sample; NaN where one overflowed.

    `unit_gain` and `input_variance` describe the network at gain 1 to mean-field theory: the gain of its random
    weights, and the variance of what its input and biases add to a unit. NaN where the theory does not cover it.
    """

    network: str
    drive: str
    gains: tuple[float, ...]
    exponents: tuple[tuple[float, ...], ...]
    realisations: int
    unit_gain: float = math.nan
    input_variance: float = math.nan

    @property
    def has_theory(self) -> bool:
        """Whether mean-field theory covers the network."""
        return math.isfinite(self.unit_gain)

    @property
    def transition(self) -> float:
        """The gain at which λ₁ = 0 in theory; NaN where there is none."""
        return transition_gain(self.input_variance) / self.unit_gain if self.has_theory else math.nan

    @property
    def means(self) -> np.ndarray:
        """The mean over realisations and samples at each gain."""
        return np.array([np.mean(values) for values in self.exponents], dtype=float)

    @property
    def spread(self) -> np.ndarray:
        """The standard deviation over realisations and samples; NaN where one is not finite."""
        with np.errstate(invalid="ignore"):
            return np.array([np.std(values, ddof=1) for values in self.exponents])

    @property
    def crossing(self) -> float:
        """The gain at which the measured mean first crosses 0, between two gains; NaN where it does not."""
        for (left, low), (right, high) in pairwise(zip(self.gains, self.means.tolist(), strict=True)):
            if low <= 0 < high:
                share: float = -low / (high - low)
                return left + (right - left) * share
        return math.nan

    @property
    def largest_difference(self) -> float:
        """The largest distance of the measured means from theory, in nats per step; NaN where there is none."""
        return float(np.abs(self.means - [self.theory(gain) for gain in self.gains]).max())

    def theory(self, gain: float) -> float:
        """λ₁ by mean-field theory; NaN where there is none."""
        return mean_field(gain * self.unit_gain, self.input_variance).exponent if self.has_theory else math.nan

    def frame(self) -> pd.DataFrame:
        """One row per gain, realisation and sample."""
        rows = []
        for gain, values in zip(self.gains, self.exponents, strict=True):
            samples = len(values) // self.realisations
            rows += [
                {
                    "network": self.network,
                    "drive": self.drive,
                    "gain": gain,
                    "realisation": place // samples,
                    "sample": place % samples,
                    "exponent": value,
                    "mean_field": self.theory(gain),
                }
                for place, value in enumerate(values)
            ]
        return pd.DataFrame(rows)

    def mean_frame(self) -> pd.DataFrame:
        """One row per gain: mean, spread and theory."""
        return pd.DataFrame(
            {
                "network": self.network,
                "drive": self.drive,
                "gain": self.gains,
                "mean": self.means,
                "spread": self.spread,
                "mean_field": [self.theory(gain) for gain in self.gains],
            }
        )

    def line(self) -> pd.DataFrame:
        """The line of theory, finer than what was measured; empty where there is none."""
        first, last = self.gains[0], self.gains[-1]
        gains: set[float] = set()
        if self.has_theory:
            gains.update(np.linspace(first, last, LINE).tolist())
            if first < (kink := 1 / self.unit_gain) < last:
                gains.add(kink)
        return pd.DataFrame(
            [{"drive": self.drive, "gain": gain, "exponent": self.theory(gain)} for gain in sorted(gains)],
            columns=["drive", "gain", "exponent"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        fields: dict[str, Any] = plain(asdict(self))
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> GainCurve:
        """The inverse of `to_dict`, also after a trip through JSON."""
        values = {name: number(fields[name]) for name in ("unit_gain", "input_variance")}
        exponents = tuple(tuple(map(number, row)) for row in fields["exponents"])
        return cls(**{**fields, **values, "gains": tuple(fields["gains"]), "exponents": exponents})


def check_gains(gains: Sequence[float]) -> tuple[float, ...]:
    """The gains, increasing and above 0. Raises `InvalidValueError`."""
    for gain in gains:
        if not (math.isfinite(gain) and gain > 0):
            raise InvalidValueError(f"gains: expected numbers above 0, got {gain:g}; try 0.5,1,2")
    if len(gains) < 2 or any(after <= before for before, after in pairwise(gains)):
        raise InvalidValueError(
            f"gains: expected at least two increasing numbers, got {','.join(f'{gain:g}' for gain in gains)}; "
            "try 0.5,1,2"
        )
    return tuple(float(gain) for gain in gains)


def exponents_at(network: Network, drive: str, gain: float, settings: Settings) -> tuple[float, ...]:
    """The largest exponents of the network's realisations at `gain` times its own, sample by sample."""
    exponents: list[float] = []
    for realisation in range(REALISATIONS):
        seed = network.workload.seed + realisation
        realised = replace(network, workload=network.workload.replace(seed=seed), gain=gain * network.gain)
        module = realised.module()
        inputs, state = driven(realised, module, drive)
        try:
            spectrum = lyapunov_spectrum(
                module, inputs, k=1, state=state, warm_up=settings.warm_up_for(len(inputs)),
                qr_every=settings.qr_every,
            )  # fmt: skip
        except NonFiniteError:  # as many NaN as the other realisations have exponents
            exponents += [math.nan] * network.workload.batch_size
        else:
            exponents += spectrum.part().largest.tolist()
    return tuple(exponents)


def gain_curve(
    network: Network, drive: str, gains: tuple[float, ...], exponents: Sequence[tuple[float, ...]]
) -> GainCurve:
    """The record, with the figures that mean-field theory needs about the network at gain 1."""
    workload = network.workload
    curve = GainCurve(network.name, drive, gains, tuple(exponents), REALISATIONS)
    tanh_layer = workload.cell == "rnn_tanh" and workload.layers == 1 and not workload.bidirectional
    if not tanh_layer or network.init.kind not in RANDOM:
        return curve
    size = workload.hidden_sizes[0]
    units = {"default": DEFAULT_GAIN, "orthogonal": 1.0, "normal": (network.init.number or 0) * math.sqrt(size)}
    variance = 1 / (3 * size)  # the variance of torch's own input weights and biases, U(-1/√H, 1/√H)
    biases = 0 if isinstance(network, Unbiased) else 2
    features = workload.input_size if drive == "noise" else 0
    return replace(
        curve, unit_gain=units[network.init.kind] * network.gain, input_variance=(features + biases) * variance
    )
