"""A cotangent carried back through one layer, step by step, without leaving the dtype's range.

The inner loop runs as many steps as the range of the dtype allows before it rescales. That number is not
derived from a bound but observed: some steps are run, the norms that they produced are looked at, and only
the steps that stayed in range are accepted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.cells.linearised import PullBack
from unrolled.errors import NonFiniteError
from unrolled.gradients.clipping.step import StepBound as StepBound
from unrolled.gradients.weight_sums import WeightSums
from unrolled.rollout.layer import LayerRun
from unrolled.rollout.scaled import DRIFT, ZERO_EXPONENT, Scaled, log2, shift, working_dtype

FIRST_STRIDE = 128  # steps before the first look at the norms
GROWTH = 2  # of the stride, after all its steps stayed in range


@dataclass(frozen=True)
class Pulled:
    """What a pull-back yields.

    `log2_norms`: per path `(T, B)` float64, the norms of the total gradients of the states after each step, NaN
    after the end of a shorter sequence. `x_bar` `(T, B, I)`: the cotangent of the input. `start`: per path
    `(B, ·)`, that of the first state. `gradients`: those of the weights, by short name.
    """

    log2_norms: tuple[Tensor, ...]
    x_bar: Scaled | None
    start: tuple[Scaled, ...]
    gradients: dict[str, Scaled]


@torch.no_grad()
def pull_back(
    layer: LayerRun,
    direct: Scaled | None,
    final: tuple[Scaled | None, ...],
    *,
    needs_input: bool = False,
    needs_weights: bool = True,
    bound: StepBound | None = None,
    name: str = "",
) -> Pulled:
    """Pull back the direct gradients of a layer's outputs and of its last states.

    `direct`: `(T, B, P)` with one exponent per step and sample; `final`: per path `(B, ·)` with one
    exponent per sample, or None for zero.

    Raises `NonFiniteError`, naming `name` and the step, where a single step overflows.
    """
    return _PullBack(layer, direct, final, bound, name).run(needs_input, needs_weights)


class _PullBack:
    def __init__(
        self,
        layer: LayerRun,
        direct: Scaled | None,
        final: tuple[Scaled | None, ...],
        bound: StepBound | None,
        name: str,
    ) -> None:
        self.layer, self.bound, self.name = layer, bound, name
        self.batch = layer.x.shape[1]
        self.dtype, self.device = working_dtype(layer.h.dtype), layer.h.device
        self.directs: list[Scaled | None] = [direct] + [None] * (len(layer.sizes) - 1)
        if layer.lengths is not None:
            self.directs = [
                self._at_own_end(*pair) for pair in zip(self.directs, final, layer.sizes, strict=True)
            ]
            final = (None,) * len(layer.sizes)
        self.magnitudes = [None if d is None else d.magnitude() for d in self.directs]
        self.present = [
            [False] * layer.steps if m is None else (m > ZERO_EXPONENT).any(1).tolist() for m in self.magnitudes
        ]
        self.carried = [
            self._zero(self.batch, size) if last is None else last
            for last, size in zip(final, layer.sizes, strict=True)
        ]
        self._add_direct(layer.steps - 1)
        self.stride = 1 if bound else FIRST_STRIDE
        self._clip_carried()

    def _add_direct(self, step: int) -> None:
        """Add the direct gradient of the state after `step` to the carried cotangent."""
        for path, direct in enumerate(self.directs):
            if direct is not None and self.present[path][step]:
                part = Scaled(direct.mantissa[step], direct.exponent[step])
                self.carried[path] = self.carried[path] + part

    def _zero(self, *shape: int) -> Scaled:
        return Scaled.of(torch.zeros(shape, dtype=self.dtype, device=self.device), leading=len(shape) - 1)

    def _at_own_end(self, direct: Scaled | None, last: Scaled | None, size: int) -> Scaled | None:
        """The direct gradient, with that of the last states added where each sequence ends."""
        if last is None:
            return direct
        ends = self.layer.lengths.to(self.device) - 1  # type: ignore[union-attr]
        placed = self._zero(self.layer.steps, self.batch, size)
        samples = torch.arange(self.batch, device=self.device)
        placed.mantissa[ends, samples] = last.mantissa
        placed.exponent[ends, samples] = last.exponent
        return placed if direct is None else direct + placed

    def run(self, needs_input: bool, needs_weights: bool) -> Pulled:
        """Through all blocks, from the last to the first."""
        norms = [
            torch.empty(self.layer.steps, self.batch, dtype=torch.float64, device=self.device)
            for _ in self.layer.sizes
        ]
        x_bars: list[Scaled] = []
        sums = WeightSums(self.layer.weights.to(self.dtype))
        for first, block in self.layer.pull_backs():
            exponents = self._pull_block(block, first, norms)
            if needs_weights:
                here = torch.stack([norm[first : first + len(exponents)] for norm in norms]).amax(0)
                sums.add(block, exponents, here)
            if needs_input:
                x_bars.append(Scaled(block.input_cotangent(), exponents))
        if self.layer.lengths is not None:
            steps = torch.arange(self.layer.steps, device=self.device).unsqueeze(1)
            over = steps >= self.layer.lengths.to(self.device)
            norms = [norm.masked_fill(over, math.nan) for norm in norms]
        return Pulled(
            tuple(norms), _concatenate(x_bars), tuple(self.carried), sums.gradients() if needs_weights else {}
        )

    def _pull_block(self, block: PullBack, first: int, norms: list[Tensor]) -> Tensor:
        """Pull through one block; fill in `norms`; the exponents `(T, B)` its buffers ended up with."""
        last = len(block.delta)
        exponents = torch.empty(last, self.batch, dtype=torch.int64, device=self.device)
        while last > 0:
            aim = max(0, last - self.stride)
            exponent = self._load(block, first, aim, last)
            block.pull(aim, last)
            lengths = [_norms(total[aim + 1 : last + 1]) for total in block.totals()]
            stop = aim if self.bound else self._accepted(block, lengths, first, aim, last)
            if stop == last:
                continue  # no step could be accepted: again, with a shorter stride
            exponents[stop:last] = exponent
            for norm, length in zip(norms, lengths, strict=True):
                norm[first + stop : first + last] = log2(length[stop - aim :], exponent)
            self.carried = [Scaled(part[stop].clone(), exponent) for part in block.cotangents]
            if stop == aim and first + stop > 0:
                self._add_direct(first + stop - 1)
            self._clip_carried()
            last = stop
        return exponents

    def _load(self, block: PullBack, first: int, stop: int, last: int) -> Tensor:
        """Write the carried cotangent, and the direct gradients down to `stop`, to buffers; their exponent `(B,)`.

        The direct gradient of state `stop` is left out: it may be of any size beside what arrives there, so
        it is added afterwards, with exponents. A stride of one step therefore always starts in range.
        """
        largest = [part.magnitude() for part in self.carried]
        begin, end = first + stop, first + last - 1  # direct gradients of the states strictly inside
        present = [any(of_path[begin:end]) for of_path in self.present]
        for magnitude, there in zip(self.magnitudes, present, strict=True):
            if there and magnitude is not None:
                largest.append(magnitude[begin:end].amax(0))
        exponent = torch.stack(largest).amax(0)
        exponent = torch.where(exponent == ZERO_EXPONENT, 0, exponent)
        for buffer, part, direct, there in zip(
            block.cotangents, self.carried, self.directs, present, strict=True
        ):
            buffer[last] = part.at(exponent)
            buffer[stop:last].zero_()
            if there and direct is not None:
                scaled = shift(direct.mantissa[begin:end], direct.exponent[begin:end] - exponent)
                buffer[stop + 1 : last] = scaled
        return exponent

    def _accepted(self, block: PullBack, lengths: list[Tensor], first: int, stop: int, last: int) -> int:
        """The lowest state down to which all norms stayed in range; sets the next stride.

        `lengths`: per path, the norms of the total gradients of the states above `stop`.
        """
        limit = DRIFT[self.dtype]
        norms = torch.zeros(last - stop + 1, self.batch, dtype=torch.float64, device=self.device)
        for part, length in zip(block.cotangents, lengths, strict=True):
            norms = torch.hypot(norms, torch.cat((_norms(part[stop : stop + 1]), length)))
        good = (norms <= 2.0**limit) & (norms >= 2.0**-limit)
        if not good.all():
            good |= self._rightly_zero(norms, first, stop, last)
        every = good.all(1).flip(0)
        count = int(every.to(torch.int8).cumprod(0).sum()) - 1
        if count < 0:  # direct gradients on the way dwarf the cotangent it starts from
            self.stride = max(1, (last - stop) // 2)
            return last
        if count == last - stop:
            self.stride = GROWTH * self.stride if count == self.stride else self.stride
            travelled = torch.where(norms[0] > 0, norms[0].log2(), 0.0).abs().max().item()
            if travelled > 0:
                self.stride = max(1, min(self.stride, int(0.9 * limit * count / travelled)))
            return stop
        self.stride = max(1, count)
        if count == 0 and not bool(torch.isfinite(norms[-2]).all()):
            raise NonFiniteError(
                f"expected a finite gradient in {self.name}, got nan or inf, first at step {first + last - 1}; a "
                "single step of this network overflows, so lower its recurrent weights",
                module=self.name,
                step=first + last - 1,
            )
        return last - max(1, count)

    def _rightly_zero(self, norms: Tensor, first: int, stop: int, last: int) -> Tensor:
        """Where a norm of 0 is no underflow: no gradient but zeros has come in, down to that state."""
        came_in = torch.zeros_like(norms, dtype=torch.bool)
        for part in self.carried:
            came_in[-1] |= part.magnitude() > ZERO_EXPONENT
        for magnitude in self.magnitudes:
            if magnitude is not None:
                came_in[1:-1] |= magnitude[first + stop : first + last - 1] > ZERO_EXPONENT
        reached = came_in.flip(0).to(torch.int8).cummax(0).values.flip(0).bool()
        return (norms == 0) & ~reached

    def _clip_carried(self) -> None:
        """Put the bound of `step` clipping on the cotangent that goes into the next step."""
        if self.bound is not None:
            self.carried = [part for part in self.bound.put_on(self.carried) if part is not None]


def _norms(rows: Tensor) -> Tensor:
    """L2 norms over the last dimension, as float64, but computed in the rows' own dtype, which is faster."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=-1)
    return lengths.double()


def _concatenate(blocks: list[Scaled]) -> Scaled | None:
    """Blocks that were computed from the last to the first, joined in order of time."""
    if not blocks:
        return None
    if len(blocks) == 1:
        return blocks[0]
    blocks = blocks[::-1]
    return Scaled(
        torch.cat([block.mantissa for block in blocks]), torch.cat([block.exponent for block in blocks])
    )
