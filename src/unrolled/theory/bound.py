"""What is known beforehand about how fast a gradient can shrink or grow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from unrolled.cells import cell_of
from unrolled.errors import InvalidValueError
from unrolled.results.codec import NonNegative, Positive, require


@dataclass(frozen=True)
class GradientBound:
    """`norm at lag k <= rate**k * norm at lag 0`, with the loss at the last step only.

    `rate = γ σ_max`: γ the largest slope of the activation, σ_max the largest singular value of the recurrent
    weights (Pascanu, Mikolov, Bengio 2013, §2.1). `spectral_radius` is given beside it because it is often used
    in its place and misjudges a non-normal matrix, which grows before it decays.
    """

    slope: Positive
    sigma_max: NonNegative
    spectral_radius: NonNegative

    def check(self) -> None:
        """Raise `ValueError` for what no matrix has."""
        require(self.spectral_radius <= self.sigma_max * (1 + 1e-9), "a spectral radius of at most sigma_max")
        require(math.isfinite(self.rate), "a finite rate")

    @property
    def rate(self) -> float:
        """γ σ_max, the largest factor by which one step can change the norm."""
        return self.slope * self.sigma_max

    @property
    def must_vanish(self) -> bool:
        """`γ σ_max < 1` is sufficient for vanishing."""
        return self.rate < 1

    @property
    def may_explode(self) -> bool:
        """`γ σ_max > 1` is necessary for exploding, and not sufficient."""
        return self.rate > 1

    def log10(self, lags: np.ndarray) -> np.ndarray:
        """log10 of the bound on the norm at `lags`, relative to that at lag 0."""
        with np.errstate(invalid="ignore"):
            values = np.asarray(lags) * (math.log10(self.rate) if self.rate > 0 else -math.inf)
        result: np.ndarray = np.where(np.asarray(lags) == 0, 0.0, values)
        return result


def gradient_bound(module: nn.RNNBase, layer: int | None = None, direction: str = "forward") -> GradientBound:
    """The bound for the last layer of an `nn.RNN`, or for another layer as far as its own recurrence goes.

    Raises `InvalidValueError` for gated cells: their Jacobian is no single product of weights and slopes.
    """
    slope = cell_of(module).largest_slope
    if slope is None:
        raise InvalidValueError(
            f"module: expected an nn.RNN, got {type(module).__name__}, whose steps this bound does not "
            "cover; measure it with unrolled.gradient_flow"
        )
    number = module.num_layers - 1 if layer is None else layer
    weight = getattr(module, f"weight_hh_l{number}" + "_reverse" * (direction == "reverse"), None)
    if weight is None:
        raise InvalidValueError(
            f"layer: expected one of 0 to {module.num_layers - 1} and a direction that the module has, got "
            f"{layer}, {direction!r}; see num_layers and bidirectional"
        )
    matrix = weight.detach().double().cpu()
    return GradientBound(
        slope=slope,
        sigma_max=float(torch.linalg.matrix_norm(matrix, 2)),
        spectral_radius=float(torch.linalg.eigvals(matrix).abs().max()),
    )
