"""Matrices whose singular values span more than a floating-point number can: `diag(s e^ℓ) N`, s = ±1.

Only the logarithms ℓ `(…, n)` and a matrix N `(…, n, n)` with entries of ordinary size are kept, so a product of
thousands of Jacobians is never formed. `-inf` in ℓ stands for a row of exact zeros.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace

import torch
from torch import Tensor

WIDTH = 5.0  # nats: rows with lengths within this are made orthogonal by one SVD, which costs 2 digits
SWEEPS = 60  # each leaves a tenth of the cosines between rows or less, so ten are many
SETTLED = 1e-13  # the relative error of a singular value that the angle between two rows may still cause


@dataclass(frozen=True)
class Graded:
    """`diag(sign e^log) rows`, with `sign` and `log` `(…, n)` and `rows` `(…, n, n)`."""

    sign: Tensor
    log: Tensor
    rows: Tensor

    @classmethod
    def identity(cls, batch: tuple[int, ...], size: int, like: Tensor) -> Graded:
        """A batch of identity matrices."""
        log = like.new_zeros(*batch, size)
        eye = torch.eye(size, dtype=like.dtype, device=like.device)
        return cls(torch.ones_like(log), log, eye.expand(*batch, -1, -1))

    def joined(self, other: Graded) -> Graded:
        """The matrices of both, `(B, F, …)`, along F."""
        pairs = ((self.sign, other.sign), (self.log, other.log), (self.rows, other.rows))
        return Graded(*(torch.cat(pair, dim=1) for pair in pairs))

    def times(self, triangle: Tensor, zero_rows: Tensor | None = None) -> Graded:
        """`triangle @ self` for the upper triangles of matrices; the `zero_rows` `(…, n)` become 0.

        U diag(d) = diag(u d) S with S unit upper triangular, `S_ij = (u_ij / u_ii) (d_j / d_i)`: as d falls from row to
        row, the entries of S are of ordinary size.
        """
        diagonal = triangle.diagonal(dim1=-2, dim2=-1)
        zero_before = self.log == -math.inf
        zero = zero_before | (diagonal == 0)
        if zero_rows is not None:
            zero = zero | zero_rows
        safe = torch.where(zero, 1.0, diagonal)
        level = torch.where(zero_before, 0.0, self.log)
        ratio = (level.unsqueeze(-2) - level.unsqueeze(-1)).masked_fill(zero_before.unsqueeze(-2), -math.inf)
        signs = self.sign.unsqueeze(-2) * self.sign.unsqueeze(-1)
        shear = (triangle / safe.unsqueeze(-1)).triu(1) * ratio.triu(1).exp() * signs
        shear = shear.masked_fill(zero.unsqueeze(-1) | (triangle == 0), 0)
        return Graded(
            self.sign * torch.where(safe < 0, -1.0, 1.0),
            (level + safe.abs().log()).masked_fill(zero, -math.inf),
            self.rows + shear @ self.rows,
        )


def log_singular_values(matrix: Graded) -> Tensor:
    """Natural logarithms of the singular values `(…, n)`, from the largest down, each to relative accuracy.

    Rows that are not 0 have to be independent, as those of a product of triangles are. Once rows are orthogonal, their
    lengths are the singular values. Two things make them so, in turn, until neither has anything left to do. Rows of
    similar length get an SVD of their own, in which no larger row costs them digits. Rows of very different length
    get sweeps of the QR iteration, `(diag(d) N)ᵀ = Q (R diag(d))`, which gives a graded matrix again: each sweep
    leaves of the cosine between two rows about the square of the ratio of their lengths.
    """
    batch, size = matrix.log.shape[:-1], matrix.log.shape[-1]
    # On the CPU: many small matrices, of sizes that depend on what is in them.
    log, rows = matrix.log.reshape(-1, size).cpu(), matrix.rows.reshape(-1, size, size).cpu()
    result = torch.empty_like(log)
    unsettled = torch.arange(len(result))
    for sweep in range(SWEEPS):
        log, units = _normalised(log, rows)
        if sweep > 0:  # before the first sweep, lengths say little about singular values
            for log_lengths, unit_rows in zip(log, units, strict=True):
                _orthogonalise_similar(log_lengths, unit_rows)
        settled = _largest_error(log, units) <= SETTLED
        result[unsettled[settled]] = log[settled]
        unsettled, log, units = unsettled[~settled], log[~settled], units[~settled]
        if len(unsettled) == 0:
            break
        triangle = torch.linalg.qr(units.mT, mode="r")[1]
        swept = replace(Graded.identity((len(unsettled),), size, log), log=log).times(triangle)
        log, rows = swept.log, swept.rows
    else:
        raise ArithmeticError(
            f"expected singular values to settle in {SWEEPS} sweeps, but those of {len(unsettled)} matrices did not"
        )
    return result.sort(dim=-1, descending=True).values.reshape(*batch, size)


def _normalised(log: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms of the lengths of `e^log rows`, from the largest down, and the rows at length 1."""
    lengths = rows.norm(dim=-1)
    units = rows / lengths.clamp_min(torch.finfo(lengths.dtype).tiny).unsqueeze(-1)
    log, order = torch.where(lengths > 0, log + lengths.log(), -math.inf).sort(dim=-1, descending=True)
    return log, units.gather(-2, order.unsqueeze(-1).expand_as(units))


def _largest_error(log: Tensor, units: Tensor) -> Tensor:
    """The largest relative error `(M,)` in the square of a singular value that the cosine c of two rows causes.

    It is that of the shorter row: `c² / (1 - ρ²)` for lengths in the ratio ρ, and c for rows of equal length.
    """
    nonzero = units * (log > -math.inf).to(units.dtype).unsqueeze(-1)
    cosines = (nonzero @ nonzero.mT).tril(-1).abs()
    apart = (log.unsqueeze(-1) - log.unsqueeze(-2)).abs().nan_to_num(math.inf)
    error = cosines.square() / (cosines - torch.expm1(-2 * apart)).clamp_min(torch.finfo(log.dtype).tiny)
    return error.flatten(1).amax(-1)


def _orthogonalise_similar(log: Tensor, units: Tensor) -> None:
    """Make rows of similar lengths `e^log` `(n,)`, which fall, orthogonal in place."""
    for first, last in _windows(log[log > -math.inf].tolist()):
        top = float(log[first])
        rows = (log[first:last] - top).exp().unsqueeze(-1) * units[first:last]
        _, lengths, units[first:last] = torch.linalg.svd(rows, full_matrices=False)
        log[first:last] = top + lengths.log()


def _windows(falling: list[float]) -> list[tuple[int, int]]:
    """Slices of at least two numbers within `WIDTH`, such that any two within half of it share a slice."""
    rising = [-value for value in falling]
    windows: list[tuple[int, int]] = []
    first = last = 0
    while last < len(rising):
        before, last = last, bisect_right(rising, rising[first] + WIDTH)
        if last > max(before, first + 1):
            windows.append((first, last))
        first = max(first + 1, bisect_right(rising, rising[first] + WIDTH / 2))
    return windows
