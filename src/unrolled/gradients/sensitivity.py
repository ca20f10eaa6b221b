"""How far a state moves with the weights that it was made by: `|d h_t / d theta|` over t, in any range.

A gradient that neither vanishes nor explodes over lags says that what came early is still heard. It does not say that
the weights can be learnt by it: the longer the memory, the more a small change of the weights adds up in the state, and
the sharper the loss becomes (Zucchet, Orvieto 2024, "Recurrent neural networks: vanishing and exploding gradients are
not the end of the story"). Of `h_t = l h_{t-1} + x_t` with white x, `E h^2 = 1 / (1 - l^2)`, but
`E (dh/dl)^2 = (1 + l^2) / (1 - l^2)^3`.

The derivative by all weights of a layer is a matrix `J_t`, a row for each unit, that is never written down. A change v
of the weights moves the states by `J_t v`, which one push forward through the linearised steps gives for all t. With v
standard normal, `E |J_t v|^2 = |J_t|_F^2`, whose mean over k such v is the estimate. Where there are few weights, v
runs through all of them, one by one, and the sum is exact.

`|J_t v|^2` is a sum of `s_i^2 z_i^2` over the singular values of `J_t`, which spreads most where one of them is alone.
The mean is then chi-squared with k degrees of freedom, and that is what the interval of an estimate is taken from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from unrolled.cells.linearised import Buffers
from unrolled.cells.weights import NAMES, Weights
from unrolled.results.codec import Count, Size, require
from unrolled.rollout.fused import DIRECTIONS, FusedCall
from unrolled.rollout.layer import LayerRun
from unrolled.rollout.scaled import LOG10_2, check_logs, power_of_two, working_dtype

DIRECTIONS_DRAWN = 8
# Up to so many weights, all of them are gone through, in parts of so many.
FEW, AT_ONCE = 512, 64
CONFIDENCE = 0.99
# Beyond this size, as a power of two, tangents are scaled down.
LARGE = 40


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """`log10 |d h_t / d theta|` of one layer and direction: entry t is after step t, in the order of the direction.

    Frobenius norms, root mean square over samples; theta are the `parameters` numbers of the weights and biases of that
    layer and direction. `low` and `high` are the ends of the 99 % interval; where the norm is exact, `directions` is 0
    and both are the norm.
    """

    module: str
    call: Count
    layer: Count
    direction: Literal["forward", "reverse"]
    parameters: Size
    directions: Count
    log10_norm: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def steps(self) -> int:
        """T."""
        return len(self.log10_norm)

    @property
    def is_exact(self) -> bool:
        """Whether all weights were gone through."""
        return self.directions == 0

    def check(self) -> None:
        """Raise `ValueError` for what are no norms with their intervals."""
        for name in ("log10_norm", "low", "high"):
            check_logs(getattr(self, name), 1, name)
            require(len(getattr(self, name)) == self.steps, f"{self.steps} steps in {name}")
        require(
            ((self.low <= self.log10_norm) & (self.log10_norm <= self.high)).all(), "norms in their intervals"
        )


def sensitivities(call: FusedCall, directions: int = DIRECTIONS_DRAWN) -> list[Sensitivity]:
    """Those of all layers and directions of a call; none of sequences that differ in length."""
    found = []
    for layer, runs in enumerate(call.layers):
        for number, run in enumerate(runs):
            if run.lengths is None:
                labels = {"module": call.target.name, "call": call.number, "layer": layer}
                found.append(sensitivity(run, {**labels, "direction": DIRECTIONS[number]}, directions))
    return found


@torch.no_grad()
def sensitivity(run: LayerRun, labels: dict[str, Any], directions: int = DIRECTIONS_DRAWN) -> Sensitivity:
    """Of one layer and direction; `labels` are `module`, `call`, `layer` and `direction` of the result."""
    dtype = working_dtype(run.h.dtype)
    weights = run.weights.to(dtype)
    count = sum(weight.numel() for weight in weights.flat())
    exact = count <= FEW
    parts = list(_units(weights) if exact else _normal(weights, directions))
    logs = [part for changes in parts for part in _log2_norms(run, weights, changes).unbind(-1)]
    total = _log2_sum(torch.stack(logs))
    mean = total if exact else total - math.log2(directions)
    over_samples = (_log2_sum(mean.T) - math.log2(mean.shape[1])).cpu().numpy()
    log10 = LOG10_2 * over_samples / 2
    low, high = (0.0, 0.0) if exact else _spread(directions)
    return Sensitivity(
        **labels,
        parameters=count,
        directions=0 if exact else directions,
        log10_norm=log10,
        low=log10 + low,
        high=log10 + high,
    )


def _log2_norms(run: LayerRun, weights: Weights, changes: Weights) -> Tensor:
    """log2 of `|d h_t . change|^2`, `(T, B, k)`: the tangents start at 0, and each step adds what the weights move."""
    batch, count = run.h.shape[1], len(changes.weight_ih)
    buffers = Buffers(run.block, run.h.new_empty(0, dtype=weights.weight_ih.dtype))
    exponent = torch.zeros(batch, count, dtype=torch.int64, device=run.h.device)
    v: Tensor | None = None
    found = []
    for first in range(0, run.steps, run.block):
        last = min(first + run.block, run.steps)
        x, h = (each.to(buffers.like.dtype) for each in (run.x[first:last], run.h[first : last + 1]))
        c = run.c_starts[first // run.block].to(buffers.like.dtype) if run.c_starts else None
        block = run.cell.linearise(weights, x, h, c, buffers)
        push, own = block.push_forward(), block.of_weights(changes)
        if v is None:
            v, out = (own.new_zeros(push.size, batch * count) for _ in range(2))
        for t in range(last - first):
            scale = power_of_two(-exponent, own.dtype).view(1, -1)
            push.step(t, v, out, None, own[t] * scale)
            v, out = out, v
            squares = v[: push.output_size].double().square().sum(0).view(batch, count)
            found.append(torch.log2(squares) + 2 * exponent)
            exponent += _scaled_down(v, batch, count)
    return torch.stack(found)


def _scaled_down(v: Tensor, batch: int, count: int) -> Tensor:
    """Scale tangents `(n, B * k)` down, each by an exact power of two, where they have grown; these powers."""
    size = torch.frexp(v.abs().amax(0))[1].view(batch, count).to(torch.int64)
    powers = torch.where(size > LARGE, size, 0)
    if powers.any():
        v.mul_(power_of_two(-powers, v.dtype).view(1, -1))
    return powers


def _normal(weights: Weights, count: int) -> Iterator[Weights]:
    """`count` changes, drawn from one seed."""
    generator = torch.Generator().manual_seed(0)

    def drawn(weight: Tensor) -> Tensor:
        return torch.randn(count, *weight.shape, generator=generator, dtype=torch.float64).to(weight)

    yield Weights(*(None if weight is None else drawn(weight) for weight in weights.all()))  # type: ignore[arg-type]


def _units(weights: Weights) -> Iterator[Weights]:
    """Every single weight changed by 1, in parts of `AT_ONCE`."""
    sizes = [0 if weight is None else weight.numel() for weight in weights.all()]
    for first in range(0, sum(sizes), AT_ONCE):
        last = min(first + AT_ONCE, sum(sizes))
        changes, start = {}, 0
        for name, weight, size in zip(NAMES, weights.all(), sizes, strict=True):
            if weight is not None:
                flat = weight.new_zeros(last - first, size)
                inside = range(max(first, start), min(last, start + size))
                for number in inside:
                    flat[number - first, number - start] = 1
                changes[name] = flat.view(-1, *weight.shape)
            start += size
        yield Weights(**{name: changes.get(name) for name in NAMES})  # type: ignore[arg-type]


def _log2_sum(logs: Tensor) -> Tensor:
    """log2 of the sum over the first dimension of numbers given by their log2."""
    largest = logs.amax(0)
    safe = torch.where(torch.isinf(largest), 0.0, largest)
    return torch.log2(torch.exp2(logs - safe).sum(0)) + safe


def _spread(directions: int) -> tuple[float, float]:
    """How far below and above an estimate the norm may lie, in decades."""
    low, high = (directions / chi_squared((1 + sign * CONFIDENCE) / 2, directions) for sign in (1, -1))
    return math.log10(low) / 2, math.log10(high) / 2


def chi_squared(share: float, degrees: int) -> float:
    """Below which such a share of a chi-squared variable lies: the root of its distribution, by bisection."""
    half, low, high = torch.tensor(degrees / 2, dtype=torch.float64), 0.0, 100.0 + 10 * degrees
    for _ in range(100):
        middle = (low + high) / 2
        below = float(torch.special.gammainc(half, torch.tensor(middle / 2, dtype=torch.float64)))
        low, high = (middle, high) if below < share else (low, middle)
    return (low + high) / 2
