"""Tangents factorised into well conditioned vectors, their *basis*, and an upper triangle: `V = basis R`.

`Cholesky`: the Cholesky factor of the Gram matrix `VᵀV` is R, and `V R⁻¹` is as close to orthonormal as the square of
V's condition allows (CholeskyQR: Stathopoulos, Wu 2002; Yamamoto et al. 2015). It takes a third of the time of `QR`,
but the vectors must have kept half of their digits. `QR`, by Householder's reflections, takes any V; its errors are
relative to the largest entry of a column. `LU`, elimination with exchanged rows (Bauer's Treppeniteration, 1957), has
errors relative to a row: rows of very different size keep their digits, and rows of zeros, as of dead units, stay 0.

Tangents `V` `(n, M)` are columns: F sets of k vectors for each of B samples in turn, whose shape is `(B, F, k)`;
further columns only fill up.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, int, int]  # samples B, sets F, vectors k


def matrices(v: Tensor, shape: Shape) -> Tensor:
    """A view of tangents `(n, M)` as matrices `(B, F, n, k)`, or as `(n, k)` where B = F = 1."""
    batch, sets, k = shape
    if batch * sets == 1:
        return v if v.shape[1] == k else v[:, :k]
    return v.as_strided((batch, sets, len(v), k), (sets * k, k, v.shape[1], 1))


class Measured(NamedTuple):
    """What the first S factorisations say about the digits that were lost.

    `remains` `(S, B, F, k)`: `|R_ii|`, the length of the part of each vector that is independent of those before it.
    `sizes` `(S, B, F, ·)`: to the first k of them, the rounding error of `remains` is relative; the largest is about
    V's largest entry. `defects` `(S,)`: by how much `‖basis‖²` differs from its k, at most; nan for `LU`.
    """

    remains: np.ndarray
    sizes: np.ndarray
    defects: np.ndarray


class Factorisation(ABC):
    """One way to factorise tangents, several times before anyone looks at the figures."""

    shape: Shape

    @abstractmethod
    def __init__(self, like: Tensor, shape: Shape, times: int) -> None:
        """For tangents such as `like`, up to so many times."""

    @abstractmethod
    def __call__(self, number: int, v: Tensor, out: Tensor) -> None:
        """Factorise `v` as the `number`-th; write the basis to `out`."""

    @abstractmethod
    def measured(self, times: int) -> Measured:
        """The figures of the first so many times."""

    @abstractmethod
    def upper(self, number: int) -> Tensor:
        """R of the `number`-th time, `(B, F, k, k)`; anything may stand below its diagonal."""

    def triangle(self, v: Tensor) -> Tensor:
        """R of `v` alone, such as QR has it; may overwrite what was kept of the first time."""
        triangle: Tensor = torch.linalg.qr(matrices(v, self.shape), mode="r")[1]
        return triangle


class _Slot(NamedTuple):
    """What `Cholesky` keeps of one time; `lower` is a view, `upper` transposed."""

    gram: Tensor
    upper: Tensor
    lower: Tensor
    failed: Tensor
    square: Tensor


class Cholesky(Factorisation):
    """By the Gram matrix: fails, or gives a basis of little use, where V has lost too many digits.

    Of a vector that depends on others a rounding error remains: one of the Gram matrix, so its root. This may look like
    a vector that has kept some digits, but in the basis its length is not 1.
    """

    def __init__(self, like: Tensor, shape: Shape, times: int) -> None:
        self.shape, (batch, sets, k) = shape, shape
        outer = () if batch * sets == 1 else (batch, sets)
        self.grams = like.new_empty(times, *outer, k, k)
        self.uppers = torch.empty_like(self.grams).mT  # column by column, which is LAPACK's order
        self.squares = like.new_empty(times, *outer)
        self.failed = like.new_empty(times, *outer, dtype=torch.int32)
        buffers = (self.grams, self.uppers, self.uppers.mT, self.failed, self.squares)
        self.slots = [_Slot(*parts) for parts in zip(*(buffer.unbind() for buffer in buffers), strict=True)]
        diagonals = (buffer.diagonal(dim1=-2, dim2=-1) for buffer in (self.uppers, self.grams))
        self.figures = (*diagonals, self.failed, self.squares)
        self.in_place = batch * sets == 1 and like.shape[1] == k
        if not self.in_place:  # contiguous copies, which torch would otherwise make anew in each operation
            self.pushed = like.new_empty(*outer, len(like), k)
            self.basis = torch.empty_like(self.pushed)

    def __call__(self, number: int, v: Tensor, out: Tensor) -> None:
        """Four operations."""
        slot, rows = self.slots[number], self._factor(number, v)
        basis = out if self.in_place else self.basis
        # Rᵀ basisᵀ = Vᵀ: this way around, all of it is in LAPACK's order.
        torch.linalg.solve_triangular(slot.lower, rows, upper=False, out=basis.mT)
        if self.in_place:
            flat = out.view(-1)
            torch.dot(flat, flat, out=slot.square)
        else:
            torch.sum(basis * basis, (-2, -1), out=slot.square)
            matrices(out, self.shape).copy_(basis)

    def _factor(self, number: int, v: Tensor) -> Tensor:
        """Work out R; returns `Vᵀ`, a view of contiguous columns."""
        slot = self.slots[number]
        pushed = v if self.in_place else self.pushed.copy_(matrices(v, self.shape))
        rows = pushed.mT
        torch.matmul(rows, pushed, out=slot.gram)
        torch.linalg.cholesky_ex(slot.gram, upper=True, out=(slot.upper, slot.failed))
        return rows

    def measured(self, times: int) -> Measured:
        """`sizes` are the lengths of V's vectors, whose squares are the diagonal of the Gram matrix."""
        remains, squares, failed, norms = (_numbers(part)[:times] for part in self.figures)
        remains, squares = (part.reshape(times, *self.shape) for part in (remains, squares))
        if failed.any():
            remains = np.where(failed.reshape(times, *self.shape[:2], 1) > 0, 0.0, remains)
        defects = abs(norms - self.shape[-1]).reshape(times, -1).max(1)
        return Measured(abs(remains), np.sqrt(squares), defects)

    def upper(self, number: int) -> Tensor:
        """R as it was worked out."""
        return self.uppers[number]

    def triangle(self, v: Tensor) -> Tensor:
        """By the Gram matrix too, which loses nothing of vectors that are nearly orthonormal, unless it fails."""
        self._factor(0, v)
        return super().triangle(v) if bool(self.failed[0].any()) else self.upper(0)


class _Listed(Factorisation):
    """Keeps R and the sizes in a list; its bases differ from orthonormal ones by `defect`."""

    defect: ClassVar[float]

    def __init__(self, like: Tensor, shape: Shape, times: int) -> None:
        self.shape = shape
        self.kept: list[tuple[Tensor, Tensor]] = [(like, like)] * times

    def measured(self, times: int) -> Measured:
        """From the list."""
        batch, sets, k = self.shape
        uppers, sizes = (torch.stack(parts) for parts in zip(*self.kept[:times], strict=True))
        remains = abs(_numbers(uppers.diagonal(dim1=-2, dim2=-1))).reshape(times, batch, sets, k)
        return Measured(remains, _numbers(sizes).reshape(times, batch, sets, -1), np.full(times, self.defect))

    def upper(self, number: int) -> Tensor:
        """R as it was worked out."""
        return self.kept[number][0]


class QR(_Listed):
    """By reflections: an orthonormal basis. `sizes` are the largest entries of R's columns."""

    defect = 0.0

    def __call__(self, number: int, v: Tensor, out: Tensor) -> None:
        """One operation."""
        q, upper = torch.linalg.qr(matrices(v, self.shape))
        self.kept[number] = (upper, upper.abs().amax(-2))
        matrices(out, self.shape).copy_(q)


class LU(_Listed):
    """By elimination: a unit lower triangle with exchanged rows. `sizes` are the largest entries of V's rows."""

    defect = math.nan

    def __call__(self, number: int, v: Tensor, out: Tensor) -> None:
        """Matrix by matrix: in a batch of large ones, MKL's threads and torch's spoil each other's exchanges of rows,
        to wrong ones or to a standstill."""
        pushed = matrices(v, self.shape)
        each = [torch.linalg.lu_factor_ex(matrix)[:2] for matrix in pushed.reshape(-1, *pushed.shape[-2:])]
        packed, pivots = (torch.stack(parts) for parts in zip(*each, strict=True))
        exchanged, lower, upper = torch.lu_unpack(
            packed.view_as(pushed), pivots.view(*pushed.shape[:-2], pivots.shape[-1])
        )
        rows = exchanged.mT @ pushed.abs().amax(-1, keepdim=True)
        self.kept[number] = (upper, rows.squeeze(-1))
        torch.matmul(exchanged, lower, out=matrices(out, self.shape))


def _numbers(part: Tensor) -> np.ndarray:
    numbers: np.ndarray = part.cpu().numpy()
    return numbers
