"""Pushed tangents taken apart into a well conditioned frame and an upper triangle, `V = frame R`.

The Cholesky factor of the Gram matrix `VᵀV` is R, and `V R⁻¹` a frame that is as close to an orthonormal one
as the square of V's condition allows (CholeskyQR: Stathopoulos, Wu 2002; Yamamoto et al. 2015): it takes a
third of the time of Householder's reflections, but vectors that have kept half of their digits. Those
reflections take any V, with an error relative to the largest entry of a column. The error of elimination
with exchanged rows (Bauer's Treppeniteration, 1957) is relative to a row, so that rows of very different size
keep their digits, and rows of zeros, such as dead units', stay exactly 0.

Tangents `V` `(n, M)` are columns: F frames of k vectors for each of B samples in turn, whose shape is
`(B, F, k)`; further columns only fill up.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, int, int]  # samples B, frames F, vectors k


def matrices(v: Tensor, shape: Shape) -> Tensor:
    """Tangents `(n, M)` as matrices `(B, F, n, k)`, or those of a single frame as one, `(n, k)`."""
    batch, frames, k = shape
    if batch * frames == 1:
        return v if v.shape[1] == k else v[:, :k]
    return v.as_strided((batch, frames, len(v), k), (frames * k, k, v.shape[1], 1))


class Found(NamedTuple):
    """What S factorisations have found.

    `left` `(S, B, F, k)`: the parts of the vectors in R, `|R_ii|`. `whole` `(S, B, F, ·)`: first, of what each
    is the rest, in the sense in which its error is relative to it; the largest is about V's. `off` `(S,)`: by
    how much the squared lengths of an orthonormal frame differ from k, in sum; nan of another kind of frame.
    """

    left: np.ndarray
    whole: np.ndarray
    off: np.ndarray


class Factorisation(ABC):
    """A way of taking tangents apart, several times before anyone looks at what was found."""

    shape: Shape

    @abstractmethod
    def __init__(self, like: Tensor, shape: Shape, times: int) -> None:
        """For tangents such as `like`, up to so many times."""

    @abstractmethod
    def __call__(self, number: int, v: Tensor, out: Tensor) -> None:
        """The `number`-th time, the frame into `out`."""

    @abstractmethod
    def found(self, times: int) -> Found:
        """What the first so many times have found."""

    @abstractmethod
    def upper(self, number: int) -> Tensor:
        """R of the `number`-th time, `(B, F, k, k)`, with anything at all below its diagonal."""

    def triangle(self, v: Tensor) -> Tensor:
        """R alone of `v`, such as a frame that is left; what was found before is lost."""
        found: Tensor = torch.linalg.qr(matrices(v, self.shape), mode="r")[1]
        return found


class _Slot(NamedTuple):
    """Where `Cholesky` keeps what it finds: `lower` is `upper` transposed."""

    gram: Tensor
    upper: Tensor
    lower: Tensor
    failed: Tensor
    square: Tensor


class Cholesky(Factorisation):
    """By way of the Gram matrix: fails, or leaves a frame of little use, where V has lost too many digits.

    What is left of a vector that depends on others is a rounding error, the root of one that its square has
    in the Gram matrix. It may look like a vector that has kept some digits, but has no length in the frame.
    """

    def __init__(self, like: Tensor, shape: Shape, times: int) -> None:
        self.shape, (batch, frames, k) = shape, shape
        of_each = () if batch * frames == 1 else (batch, frames)
        self.grams = like.new_empty(times, *of_each, k, k)
        self.uppers = torch.empty_like(self.grams).mT  # column by column, which is LAPACK's order
        self.squares = like.new_empty(times, *of_each)
        self.failed = like.new_empty(times, *of_each, dtype=torch.int32)
        every = (self.grams, self.uppers, self.uppers.mT, self.failed, self.squares)
        self.slots = [_Slot(*parts) for parts in zip(*(part.unbind() for part in every), strict=True)]
        diagonals = (part.diagonal(dim1=-2, dim2=-1) for part in (self.uppers, self.grams))
        self.seen = (*diagonals, self.failed, self.squares)
        self.in_place = batch * frames == 1 and like.shape[1] == k
        if not self.in_place:  # copies in one piece, which torch would make anew in each operation
            self.pushed = like.new_empty(*of_each, len(like), k)
            self.frame = torch.empty_like(self.pushed)

    def __call__(self, number: int, v: Tensor, out: Tensor) -> None:
        """Four operations."""
        slot, rows = self.slots[number], self._factor(number, v)
        frame = out if self.in_place else self.frame
        # Rᵀ frameᵀ = Vᵀ: this way around, all of it is in LAPACK's order.
        torch.linalg.solve_triangular(slot.lower, rows, upper=False, out=frame.mT)
        if self.in_place:
            flat = out.view(-1)
            torch.dot(flat, flat, out=slot.square)
        else:
            torch.sum(frame * frame, (-2, -1), out=slot.square)
            matrices(out, self.shape).copy_(frame)

    def _factor(self, number: int, v: Tensor) -> Tensor:
        """Find R; `Vᵀ`, in one piece."""
        slot = self.slots[number]
        pushed = v if self.in_place else self.pushed.copy_(matrices(v, self.shape))
        rows = pushed.mT
        torch.matmul(rows, pushed, out=slot.gram)
        torch.linalg.cholesky_ex(slot.gram, upper=True, out=(slot.upper, slot.failed))
        return rows

    def found(self, times: int) -> Found:
        """The lengths of V's vectors are on the diagonal of the Gram matrix."""
        left, squares, failed, lengths = (_numbers(part)[:times] for part in self.seen)
        left, squares = (part.reshape(times, *self.shape) for part in (left, squares))
        if failed.any():
            left = np.where(failed.reshape(times, *self.shape[:2], 1) > 0, 0.0, left)
        off = abs(lengths - self.shape[-1]).reshape(times, -1).max(1)
        return Found(abs(left), np.sqrt(squares), off)

    def upper(self, number: int) -> Tensor:
        """R as it was."""
        return self.uppers[number]

    def triangle(self, v: Tensor) -> Tensor:
        """In the same way, which loses nothing of a frame, unless it fails."""
        self._factor(0, v)
        return super().triangle(v) if bool(self.failed[0].any()) else self.upper(0)


class _InTurn(Factorisation):
    """One that keeps R, and the size of what its parts are the rest of, as they come."""

    off: ClassVar[float]

    def __init__(self, like: Tensor, shape: Shape, times: int) -> None:
        self.shape = shape
        self.each: list[tuple[Tensor, Tensor]] = [(like, like)] * times

    def found(self, times: int) -> Found:
        """Of what was kept."""
        batch, frames, k = self.shape
        uppers, sizes = (torch.stack(parts) for parts in zip(*self.each[:times], strict=True))
        left = abs(_numbers(uppers.diagonal(dim1=-2, dim2=-1))).reshape(times, batch, frames, k)
        return Found(left, _numbers(sizes).reshape(times, batch, frames, -1), np.full(times, self.off))

    def upper(self, number: int) -> Tensor:
        """R as it was."""
        return self.each[number][0]


class QR(_InTurn):
    """By reflections: an orthonormal frame."""

    off = 0.0

    def __call__(self, number: int, v: Tensor, out: Tensor) -> None:
        """One operation."""
        q, upper = torch.linalg.qr(matrices(v, self.shape))
        self.each[number] = (upper, upper.abs().amax(-2))
        matrices(out, self.shape).copy_(q)


class LU(_InTurn):
    """By elimination: a frame of unit lower triangles, with rows exchanged for the largest pivot."""

    off = math.nan

    def __call__(self, number: int, v: Tensor, out: Tensor) -> None:
        """Matrix by matrix: of a batch of large ones, MKL's threads and torch's spoil each other's exchanges
        of rows, to wrong ones or to a standstill."""
        pushed = matrices(v, self.shape)
        each = [torch.linalg.lu_factor_ex(one)[:2] for one in pushed.reshape(-1, *pushed.shape[-2:])]
        packed, pivots = (torch.stack(parts) for parts in zip(*each, strict=True))
        exchanged, lower, upper = torch.lu_unpack(
            packed.view_as(pushed), pivots.view(*pushed.shape[:-2], pivots.shape[-1])
        )
        rows = exchanged.mT @ pushed.abs().amax(-1, keepdim=True)
        self.each[number] = (upper, rows.squeeze(-1))
        torch.matmul(exchanged, lower, out=matrices(out, self.shape))


def _numbers(part: Tensor) -> np.ndarray:
    result: np.ndarray = part.cpu().numpy()
    return result
