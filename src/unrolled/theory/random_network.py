"""The largest exponent of a large random tanh network, by mean-field theory, without input and with noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from unrolled.errors import InvalidTypeError, InvalidValueError

# tanh and sech have their poles at a distance of π/2 from the real line. The trapezoidal rule on steps of this part
# of it is exact to some e^(-2π·8) = 1e-22 (Trefethen, Weideman 2014, SIAM Review 56, theorem 5.1).
STEP = 1 / 8
# Points on the axis of z, with their normal weights; beyond 9 the density is below 1e-17 of its peak.
Z = STEP * np.arange(-72, 73)
DENSITY = np.exp(-0.5 * Z**2) / np.exp(-0.5 * Z**2).sum()
# Points on the axis of x; beyond 20 sech² is below 2e-17.
X_STEP = STEP * math.pi / 2
X = X_STEP * np.arange(-102, 103)
LARGEST = 1e100  # of a gain or a variance: the square of a gain is still a float


@dataclass(frozen=True)
class MeanField:
    """The map `h_t = tanh(W h_{t-1} + u_t)` of N units as N → ∞, with `W_ij` of mean 0 and variance `gain²/N`.

    `input_variance`: σ², the variance of `u_t` over units; in time it is white noise or constant.
    `variance`: Δ, that of what a unit sums up, the solution of `Δ = g² E[tanh²(√Δ z)] + σ²`, z ~ N(0, 1).
    `exponent`: λ₁ = ½ ln(g² E[sech⁴(√Δ z)]), nats per step.

    Sompolinsky, Crisanti, Sommers 1988 for the theory; Molgedey, Schuchhardt, Schuster 1992 (Physical Review
    Letters 69, 3717) for discrete time with noise; Poole et al. 2016, equations 3 and 5, for σ² and for the
    same exponent as ½ ln χ. It holds for independent entries of any distribution with that variance, and, as
    equal variances are all it uses, for `gain` times a random orthogonal matrix; not for structured or trained
    weights. At finite N single networks scatter about it.
    """

    gain: float
    input_variance: float
    variance: float
    exponent: float

    @property
    def is_chaotic(self) -> bool:
        """Whether nearby states move apart: λ₁ > 0."""
        return self.exponent > 0


def mean_field(gain: float, input_variance: float = 0.0) -> MeanField:
    """Mean-field theory of a random tanh network: `MeanField` says of which, and whose it is.

    Without input Δ = 0 and λ₁ = ln g up to the transition at g = 1, and Δ > 0 above it.
    Raises `InvalidValueError` for a gain that is not above 0, or a variance below 0, or either above 1e100, and
    `InvalidTypeError` for what is no number.
    """
    _check("gain", gain, "above 0", "1")
    _check("input_variance", input_variance, "of at least 0", "0, which is no input")
    variance = _variance(gain, input_variance)
    slope = _mean_sech(4, variance)
    return MeanField(gain, input_variance, variance, math.log(gain) + 0.5 * math.log(slope))


def transition_gain(input_variance: float = 0.0) -> float:
    """The gain at which λ₁ = 0: exactly 1 without input, larger with it, as noise suppresses chaos.

    Molgedey, Schuchhardt, Schuster 1992. Raises `InvalidValueError` for a variance below 0.
    """
    if input_variance == 0:
        return 1.0
    upper = 2.0
    while not mean_field(upper, input_variance).is_chaotic:
        upper *= 2
    return _root(lambda gain: -mean_field(gain, input_variance).exponent, 1.0, upper)


def mean_field_of(module: nn.RNNBase, input_variance: float = 0.0) -> MeanField:
    """Mean-field theory for the weights of a one-layer tanh `nn.RNN`, by their root mean squares.

    g² = N·mean(W_hh²) and σ² = `input_variance`·mean over units of ‖W_ih‖² plus mean(b²), with b the sum of
    both biases and `input_variance` that of each input feature: 0 for no input, 1 for standard normal noise.
    Where it applies is said at `MeanField`. Raises `InvalidTypeError` for another cell, `InvalidValueError`
    for more layers or directions, whose input is no such noise, and for weights that are not finite.
    """
    if not isinstance(module, nn.RNN) or module.mode != "RNN_TANH":
        got = getattr(module, "mode", type(module).__name__)
        raise InvalidTypeError(f"module: expected a tanh nn.RNN, got {got}; gated cells have another theory")
    if module.num_layers > 1 or module.bidirectional:
        raise InvalidValueError(
            f"module: expected one layer and one direction, got {module.num_layers} layers, "
            f"bidirectional={module.bidirectional}; what a layer above reads is no noise"
        )
    weights = {name: weight.detach().double().cpu() for name, weight in module.named_parameters()}
    for name, weight in weights.items():
        if not bool(torch.isfinite(weight).all()):
            raise InvalidValueError(f"module: expected finite weights, got NaN or inf in {name}; reload them")
    gain = math.sqrt(module.hidden_size * float(weights["weight_hh_l0"].square().mean()))
    variance = input_variance * float(weights["weight_ih_l0"].square().sum(1).mean())
    if module.bias:
        variance += float((weights["bias_ih_l0"] + weights["bias_hh_l0"]).square().mean())
    return mean_field(gain, variance)


def _variance(gain: float, input_variance: float) -> float:
    """The attracting solution Δ. `g² E[tanh²]` is concave in Δ, so between these ends there is one root."""
    if input_variance == 0 and gain <= 1:
        return 0.0
    upper = gain**2 + input_variance  # tanh² < 1
    lower = input_variance
    if gain > 1:
        lower = max(lower, 0.5 * (1 - gain**-2))  # tanh²(x) > x² - ⅔ x⁴
    return _root(lambda delta: gain**2 * _mean_square_tanh(delta) + input_variance - delta, lower, upper)


def _mean_square_tanh(variance: float) -> float:
    """`E[tanh²(√Δ z)]`, z ~ N(0, 1); 1 - √(2/πΔ) for a large Δ, where tanh is a sign."""
    if variance <= 1:
        return float(DENSITY @ np.tanh(math.sqrt(variance) * Z) ** 2)
    return 1 - _mean_sech(2, variance)


def _mean_sech(power: int, variance: float) -> float:
    """`E[sechⁿ(√Δ z)]`, z ~ N(0, 1), for n of at least 2.

    For a large Δ the peak at 0 is narrow beside the density of z, and the sum is taken over x = √Δ z: it tends to
    the integral of sechⁿ, 2 for n = 2 and 4/3 for n = 4, over √(2πΔ).
    """
    if variance <= 1:
        return float(DENSITY @ np.cosh(math.sqrt(variance) * Z) ** -power)
    density = np.exp(-0.5 * X**2 / variance) / math.sqrt(2 * math.pi * variance)
    return float(X_STEP * (density @ np.cosh(X) ** -power))


def _root(function: Callable[[float], float], lower: float, upper: float) -> float:
    """Where a function goes from above 0 to below, by bisection down to neighbouring floats."""
    while True:
        middle = 0.5 * (lower + upper)
        if not lower < middle < upper:
            return middle
        if function(middle) > 0:
            lower = middle
        else:
            upper = middle


def _check(name: str, value: float, wanted: str, example: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(f"{name}: expected a number, got {value!r}; try {example}")
    if not (0 <= value <= LARGEST) or (value == 0 and wanted == "above 0"):
        raise InvalidValueError(
            f"{name}: expected a number {wanted}, at most {LARGEST:g}, got {value}; try {example}"
        )
