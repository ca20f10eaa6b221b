"""How far a state moves with the weights that it was made by: `|d h_t / d theta|` over t, in any range.

A gradient that neither vanishes nor explodes over lags says that what came early is still heard. It does not say that
the weights can be learnt by it: the longer the memory, the more a small change of the weights adds up in the state, and
the sharper the loss becomes (Zucchet, Orvieto 2024, "Recurrent neural networks: vanishing and exploding gradients are
not the end of the story"). Of `h_t = l h_{t-1} + x_t` with white x, `E h^2 = 1 / (1 - l^2)`, but
`E (dh/dl)^2 = (1 + l^2) / (1 - l^2)^3`.

The derivative by all weights of a layer is a matrix `J_t`, a row for each unit, that is never written down. A change v
of the weights moves the states by `J_t v`, which one push forward through the linearised steps gives for all t. With v
standard normal, `E |J_t v|^2 = |J_t|_F^2`. Each sample has changes of its own, so that the mean over samples is one
over as many independent draws. Where there are few weights, v runs through all of them, and the sum is exact.

`|J_t v|^2` is a sum of `s_i^2 z_i^2` over the singular values of `J_t`, which spreads most where one of them is alone.
The mean over n draws is then chi-squared with n degrees of freedom, where samples are alike, and that is what the
interval of an estimate is taken from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unrolled.cells.linearised import Buffers
from unrolled.cells.push_forward import PushForward
from unrolled.cells.weights import NAMES, Weights
from unrolled.results.codec import Count, Size, require
from unrolled.rollout.fused import DIRECTIONS, FusedCall
from unrolled.rollout.layer import LayerRun
from unrolled.rollout.scaled import LOG10_2, check_logs, power_of_two, working_dtype

DRAWS = 16  # of changes of the weights, over samples and in each
MOST_NUMBERS = 2**24  # of all changes; of larger networks fewer samples are looked at
# Up to so many weights, all of them are gone through, in parts of so many.
FEW, AT_ONCE = 512, 64
CONFIDENCE = 0.99
ROUNDING = 1e-9
SETTLED = 10  # steps after which a state without a long memory is what it stays
# Beyond this size, as a power of two, tangents are scaled down; it is looked at after so many steps.
LARGE, UNWATCHED = 40, 32


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """`log10 |d h_t / d theta|` of one layer and direction: entry t is after step t, in the order of the direction.

    Frobenius norms, root mean square over samples; theta are the `parameters` numbers of the weights and biases of that
    layer and direction. `low` and `high` are the ends of the 99 % interval of an estimate from so many `draws`, of the
    first samples where there are more; where the norm is exact, `draws` is 0 and both are the norm.
    """

    module: str
    call: Count
    layer: Count
    direction: Literal["forward", "reverse"]
    parameters: Size
    draws: Count
    log10_norm: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def steps(self) -> int:
        """T."""
        return len(self.log10_norm)

    @property
    def growth(self) -> float:
        """By how many decades the norm grows from step `SETTLED` on; NaN where there are no more steps."""
        if self.steps <= SETTLED:
            return math.nan
        return float(self.log10_norm[-1] - self.log10_norm[SETTLED - 1])

    def frame(self) -> pd.DataFrame:
        """A row per step, counted from 1 in the order of the direction."""
        labels = ("module", "call", "layer", "direction", "parameters", "draws")
        steps = {"step": np.arange(1, self.steps + 1), "log10_norm": self.log10_norm}
        ends = {"log10_low": self.low, "log10_high": self.high}
        return pd.DataFrame({name: getattr(self, name) for name in labels} | steps | ends)

    @property
    def is_exact(self) -> bool:
        """Whether all weights were gone through."""
        return self.draws == 0

    def check(self) -> None:
        """Raise `ValueError` for what are no norms with their intervals."""
        for name in ("log10_norm", "low", "high"):
            check_logs(getattr(self, name), 1, name)
            require(len(getattr(self, name)) == self.steps, f"{self.steps} steps in {name}")
        require(self.draws <= DRAWS, f"at most {DRAWS} draws")
        known = np.isfinite(self.log10_norm)
        for end, away in zip((self.low, self.high), _spread(self.draws), strict=True):
            off = np.abs(end[known] - self.log10_norm[known] - away)
            require((off < ROUNDING).all(), "norms in their intervals")
            require((end[~known] == self.log10_norm[~known]).all(), "no interval of 0")


def sensitivities(call: FusedCall) -> list[Sensitivity]:
    """Those of all layers and directions of a call; none of sequences that differ in length, or of a kind without."""
    found = []
    for layer, runs in enumerate(call.layers):
        for number, run in enumerate(runs):
            if run.lengths is None and run.cell.moves_with_weights:
                labels = {"module": call.target.name, "call": call.number, "layer": layer}
                found.append(sensitivity(run, {**labels, "direction": DIRECTIONS[number]}))
    return found


@torch.no_grad()
def sensitivity(run: LayerRun, labels: dict[str, Any]) -> Sensitivity:
    """Of one layer and direction; `labels` are `module`, `call`, `layer` and `direction` of the result."""
    weights = run.weights.to(working_dtype(run.h.dtype))
    count = sum(weight.numel() for weight in weights.flat())
    exact = count <= FEW
    if exact:
        parts = [_log2_norms(run, weights, changes) for changes in _units(weights)]
        of_each = _log2_sum(torch.cat(parts, dim=-1).movedim(-1, 0))
        draws = 0
    else:
        batch = run.h.shape[1]
        samples = min(batch, DRAWS, max(1, MOST_NUMBERS // count))
        each = max(1, min(DRAWS // samples, MOST_NUMBERS // (count * samples)))
        of_each = _log2_norms(_of_samples(run, samples), weights, _normal(weights, samples, each)).flatten(1)
        draws = samples * each
    mean = _log2_sum(of_each.T) - math.log2(of_each.shape[1])
    log10 = LOG10_2 * mean.cpu().numpy() / 2
    low, high = _spread(draws)
    return Sensitivity(
        **labels, parameters=count, draws=draws, log10_norm=log10, low=log10 + low, high=log10 + high
    )


def _of_samples(run: LayerRun, count: int) -> LayerRun:
    """The first so many samples."""
    starts = [c[:count] for c in run.c_starts]
    return replace(run, x=run.x[:, :count], h=run.h[:, :count], c_starts=starts)


def _log2_norms(run: LayerRun, weights: Weights, changes: Weights) -> Tensor:
    """log2 of `|d h_t . change|^2`, `(T, B, k)`: the tangents start at 0, and each step adds what the weights move."""
    batch, count = run.h.shape[1], changes.weight_ih.shape[1]
    buffers = Buffers(run.block, run.h.new_empty(0, dtype=weights.weight_ih.dtype))
    exponent = torch.zeros(batch * count, dtype=torch.int64, device=run.h.device)
    found: list[Tensor] = []
    v: Tensor | None = None
    for first in range(0, run.steps, run.block):
        last = min(first + run.block, run.steps)
        x, h = (each.to(buffers.like.dtype) for each in (run.x[first:last], run.h[first : last + 1]))
        c = run.c_starts[first // run.block].to(buffers.like.dtype) if run.c_starts else None
        block = run.cell.linearise(weights, x, h, c, buffers)
        push, own = block.push_forward(), block.of_weights(changes)
        v = own.new_zeros(push.size, batch * count) if v is None else v
        done = 0
        while done < last - first:
            steps = min(UNWATCHED, last - first - done)
            while (states := _pushed(push, v, own, exponent, done, steps)) is None:
                steps //= 2
            squares = states[:, : push.output_size].double().square().sum(1)
            found.append((torch.log2(squares) + 2 * exponent).view(steps, batch, count))
            v, powers = _scaled_down(states[-1])
            exponent, done = exponent + powers, done + steps
    return torch.cat(found)


def _pushed(
    push: PushForward, v: Tensor, own: Tensor, exponent: Tensor, first: int, steps: int
) -> Tensor | None:
    """Tangents `(steps, n, M)` after each of some steps; None where several of them came to the end of the range."""
    states = v.new_empty(steps, *v.shape)
    moves = own[first : first + steps]
    if exponent.any():
        moves = moves * power_of_two(-exponent, own.dtype)
    for t, (out, move) in enumerate(zip(states.unbind(), moves.unbind(), strict=True)):
        push.step(first + t, v, out, None, move)
        v = out
    is_in_range = bool(states.abs().amax() < torch.finfo(v.dtype).max / LARGE)
    return states if is_in_range or steps == 1 else None


def _scaled_down(v: Tensor) -> tuple[Tensor, Tensor]:
    """Tangents `(n, M)` scaled down, each by an exact power of two, where they have grown; and these powers."""
    size = torch.frexp(v.abs().amax(0))[1].to(torch.int64)
    powers = torch.where(size > LARGE, size, 0)
    return (v * power_of_two(-powers, v.dtype) if powers.any() else v), powers


def _normal(weights: Weights, samples: int, count: int) -> Weights:
    """So many changes for each of some samples, drawn from one seed."""
    generator = torch.Generator().manual_seed(0)

    def drawn(weight: Tensor) -> Tensor:
        numbers = torch.randn(samples, count, *weight.shape, generator=generator, dtype=weight.dtype)
        return numbers.to(weight.device)

    return Weights(*(None if weight is None else drawn(weight) for weight in weights.all()))  # type: ignore[arg-type]


def _units(weights: Weights) -> Iterator[Weights]:
    """Every single weight changed by 1, for all samples, in parts of `AT_ONCE`."""
    sizes = [0 if weight is None else weight.numel() for weight in weights.all()]
    for first in range(0, sum(sizes), AT_ONCE):
        last = min(first + AT_ONCE, sum(sizes))
        changes, start = {}, 0
        for name, weight, size in zip(NAMES, weights.all(), sizes, strict=True):
            if weight is not None:
                flat = weight.new_zeros(last - first, size)
                for number in range(max(first, start), min(last, start + size)):
                    flat[number - first, number - start] = 1
                changes[name] = flat.view(1, -1, *weight.shape)
            start += size
        yield Weights(**{name: changes.get(name) for name in NAMES})  # type: ignore[arg-type]


def _log2_sum(logs: Tensor) -> Tensor:
    """log2 of the sum over the first dimension of numbers given by their log2."""
    largest = logs.amax(0)
    safe = torch.where(torch.isinf(largest), 0.0, largest)
    return torch.log2(torch.exp2(logs - safe).sum(0)) + safe


def _spread(draws: int) -> tuple[float, float]:
    """How far below, as a negative number, and above an estimate the norm may lie, in decades; 0 where it is exact."""
    if not draws:
        return 0.0, 0.0
    low, high = (draws / chi_squared((1 + sign * CONFIDENCE) / 2, draws) for sign in (1, -1))
    return math.log10(low) / 2, math.log10(high) / 2


def chi_squared(share: float, degrees: int) -> float:
    """Below which such a share of a chi-squared variable lies: the root of its distribution, by bisection."""
    half, low, high = torch.tensor(degrees / 2, dtype=torch.float64), 0.0, 100.0 + 10 * degrees
    for _ in range(100):
        middle = (low + high) / 2
        below = float(torch.special.gammainc(half, torch.tensor(middle / 2, dtype=torch.float64)))
        low, high = (middle, high) if below < share else (low, middle)
    return (low + high) / 2
