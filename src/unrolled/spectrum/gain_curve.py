"""The largest exponent over the gain of the recurrent weights: where order ends and chaos begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from msgspec import Meta
from torch import nn

from unrolled.cells.initialisation import Init
from unrolled.errors import InvalidValueError, NonFiniteError
from unrolled.networks.record import NetworkRecord
from unrolled.networks.textbook import Network
from unrolled.networks.workload import Workload
from unrolled.results.codec import Positive, require
from unrolled.rollout.scaled import check_logs
from unrolled.spectrum.drive import DRIVES, driven
from unrolled.spectrum.lyapunov import lyapunov_spectrum
from unrolled.spectrum.result import RANDOM, Settings
from unrolled.theory import DEFAULT_GAIN, mean_field, transition_gain
from unrolled.theory.random_network import LARGEST

DEFAULT_GAINS = (0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 2.5)
REALISATIONS = 4  # networks per gain, from consecutive seeds, as networks of finite size differ
BIASES = 2  # that torch's modules have for each unit
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
    gains: tuple[Positive, ...]
    exponents: tuple[tuple[float, ...], ...]
    realisations: Annotated[int, Meta(ge=2)]
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

    def check(self) -> None:
        """Raise `ValueError` for what is no curve, or the beginning of one."""
        require(self.drive in DRIVES, f"a drive, got {self.drive!r}")
        require(len(self.gains) > 0 and list(self.gains) == sorted(set(self.gains)), "gains that increase")
        require(len(self.exponents) == len(self.gains), "exponents at each gain")
        require(len({len(values) for values in self.exponents}) == 1, "as many at each gain")
        measured = np.array(self.exponents)
        require(
            measured.shape[1] > 0 and measured.shape[1] % self.realisations == 0, "as many of each realisation"
        )
        overflowed = np.isnan(measured).reshape(len(self.gains), self.realisations, -1)
        require(
            (overflowed.all(-1) == overflowed.any(-1)).all(), "all samples of a realisation that overflowed NaN"
        )
        check_logs(np.where(np.isnan(measured), 0, measured), 2, "exponents")
        theory = (self.unit_gain, self.input_variance)
        if self.has_theory or not all(map(math.isnan, theory)):
            require(self.unit_gain > 0 and 0 <= self.input_variance < LARGEST, "what theory can be asked about")
            require(self.gains[0] * self.unit_gain > 0, "gains that theory can be asked about")
            require(self.gains[-1] * self.unit_gain < LARGEST, "gains that theory can be asked about")

    def check_network(self, network: NetworkRecord) -> None:
        """Raise `ValueError` unless this is a curve of that network."""
        workload = network.workload
        if workload is None:
            raise ValueError(f"expected a network that was described, got {self.network}")
        samples = self.realisations * workload.batch_size
        require(all(len(values) == samples for values in self.exponents), f"{samples} exponents at each gain")
        init, gain = Init.parse(network.init or ""), network.gain or 0.0
        known = [_theory(workload, init, gain, self.drive, biases) for biases in (0, BIASES)]
        fits = [
            _agree(self.unit_gain, unit) and _agree(self.input_variance, variance) for unit, variance in known
        ]
        require(any(fits), f"{known[1]} at gain 1, got {self.unit_gain, self.input_variance}")


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
    biases = 0 if isinstance(network, Unbiased) else BIASES
    theory = _theory(network.workload, network.init, network.gain, drive, biases)
    return GainCurve(network.name, drive, gains, tuple(exponents), REALISATIONS, *theory)


def _theory(workload: Workload, init: Init, gain: float, drive: str, biases: int) -> tuple[float, float]:
    """`unit_gain` and `input_variance` of `GainCurve`."""
    tanh_layer = workload.cell == "rnn_tanh" and workload.layers == 1 and not workload.bidirectional
    if not tanh_layer or init.kind not in RANDOM:
        return math.nan, math.nan
    size = workload.hidden_sizes[0]
    units = {"default": DEFAULT_GAIN, "orthogonal": 1.0, "normal": (init.number or 0) * math.sqrt(size)}
    variance = 1 / (3 * size)  # the variance of torch's own input weights and biases, U(-1/√H, 1/√H)
    features = workload.input_size if drive == "noise" else 0
    return units[init.kind] * gain, (features + biases) * variance


def _agree(one: float, other: float) -> bool:
    """Whether these are one number but for the digits that the name of an initialisation leaves out."""
    return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-5)
