"""Matrices whose singular values span more than a floating-point number can: `diag(s e^ℓ) N`, s = ±1.

Only the logarithms ℓ `(…, n)` and a matrix N `(…, n, n)` of ordinary size are kept, so a product of
thousands of Jacobians is never formed. `-inf` in ℓ stands for a row of exact zeros.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace

import torch
from torch import Tensor

WIDTH = 5.0  # nats within which lengths of rows lie that are made orthogonal by one SVD; it costs them 2 digits
SWEEPS = 60  # each leaves about a tenth of the cosines or less, so ten are many
SETTLED = 1e-13  # the relative error of a singular value that the angle between two rows may still make


@dataclass(frozen=True)
class Graded:
    """`diag(sign e^log) rows`, of `(…, n)`, `(…, n)` and `(…, n, n)`."""

    sign: Tensor
    log: Tensor
    rows: Tensor

    @classmethod
    def identity(cls, batch: tuple[int, ...], size: int, like: Tensor) -> Graded:
        """A batch of identity matrices."""
        log = like.new_zeros(*batch, size)
        return cls(
            torch.ones_like(log),
            log,
            torch.eye(size, dtype=like.dtype, device=like.device).expand(*batch, -1, -1),
        )

    def times(self, triangle: Tensor, lost: Tensor | None = None) -> Graded:
        """`triangle @ self` for the upper triangles of matrices; rows that are `lost` `(…, n)` become 0.

        U diag(d) = diag(u d) S with S unit upper triangular, `S_ij = (u_ij / u_ii) (d_j / d_i)`: as d falls
        from row to row, S is of ordinary size.
        """
        diagonal = triangle.diagonal(dim1=-2, dim2=-1)
        before = self.log == -math.inf
        gone = before | (diagonal == 0)
        if lost is not None:
            gone = gone | lost
        safe = torch.where(gone, 1.0, diagonal)
        level = torch.where(before, 0.0, self.log)
        ratio = (level.unsqueeze(-2) - level.unsqueeze(-1)).masked_fill(before.unsqueeze(-2), -math.inf)
        signs = self.sign.unsqueeze(-2) * self.sign.unsqueeze(-1)
        shear = (triangle / safe.unsqueeze(-1)).triu(1) * ratio.triu(1).exp() * signs
        shear = shear.masked_fill(gone.unsqueeze(-1) | (triangle == 0), 0)
        return Graded(
            self.sign * torch.where(safe < 0, -1.0, 1.0),
            (level + safe.abs().log()).masked_fill(gone, -math.inf),
            self.rows + shear @ self.rows,
        )


def log_singular_values(matrix: Graded) -> Tensor:
    """Natural logarithms of the singular values `(…, n)`, from the largest down, each to relative accuracy.

    Rows that are not 0 have to be independent, as those of a product of triangles are. Singular values are
    the lengths of the rows once these are orthogonal. Rows of similar length are made so by an SVD of their
    own, which keeps their digits as it holds no others. Those far apart are by sweeps of the QR iteration,
    `(diag(d) N)ᵀ = Q (R diag(d))`, again a graded matrix: of the cosine of two rows, each leaves about the
    square of the ratio of their lengths. In turn, until both have nothing left to do.
    """
    batch, size = matrix.log.shape[:-1], matrix.log.shape[-1]
    # On the CPU: many small matrices, of sizes that depend on what is in them.
    log, rows = matrix.log.reshape(-1, size).cpu(), matrix.rows.reshape(-1, size, size).cpu()
    result = torch.empty_like(log)
    open_ = torch.arange(len(result))
    for sweep in range(SWEEPS):
        log, units = _units(log, rows)
        if sweep > 0:  # before, lengths say little about singular values
            for one in zip(log, units, strict=True):
                _part(*one)
        settled = _largest_error(log, units) <= SETTLED
        result[open_[settled]] = log[settled]
        left = ~settled
        open_, log, units = open_[left], log[left], units[left]
        if len(open_) == 0:
            break
        triangle = torch.linalg.qr(units.mT, mode="r")[1]
        swept = replace(Graded.identity((len(open_),), size, log), log=log).times(triangle)
        log, rows = swept.log, swept.rows
    else:
        raise ArithmeticError(
            f"expected singular values to settle in {SWEEPS} sweeps, but those of {len(open_)} matrices did not"
        )
    return result.sort(dim=-1, descending=True).values.reshape(*batch, size)


def _units(log: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms of the lengths of `e^log rows`, from the largest down, and the rows at length 1."""
    lengths = rows.norm(dim=-1)
    units = rows / lengths.clamp_min(torch.finfo(lengths.dtype).tiny).unsqueeze(-1)
    log, order = torch.where(lengths > 0, log + lengths.log(), -math.inf).sort(dim=-1, descending=True)
    return log, units.gather(-2, order.unsqueeze(-1).expand_as(units))


def _largest_error(log: Tensor, units: Tensor) -> Tensor:
    """The largest relative error `(M,)` that the cosine c of two rows means for the square of a singular value.

    Of the shorter one, it is `c² / (1 - ρ²)` for lengths in the ratio ρ, and for rows of equal length, c.
    """
    there = units * (log > -math.inf).to(units.dtype).unsqueeze(-1)
    cosines = (there @ there.mT).tril(-1).abs()
    apart = (log.unsqueeze(-1) - log.unsqueeze(-2)).abs().nan_to_num(math.inf)
    error = cosines.square() / (cosines - torch.expm1(-2 * apart)).clamp_min(torch.finfo(log.dtype).tiny)
    return error.flatten(1).amax(-1)


def _part(log: Tensor, units: Tensor) -> None:
    """Make rows of similar lengths orthogonal, in place; `e^log` `(n,)`, from the largest down."""
    for first, last in _windows(log[log > -math.inf].tolist()):
        top = float(log[first])
        rows = (log[first:last] - top).exp().unsqueeze(-1) * units[first:last]
        _, lengths, units[first:last] = torch.linalg.svd(rows, full_matrices=False)
        log[first:last] = top + lengths.log()


def _windows(falling: list[float]) -> list[tuple[int, int]]:
    """From where to where, exclusive, numbers are within `WIDTH`; all pairs within half of it are in one."""
    rising = [-one for one in falling]
    found: list[tuple[int, int]] = []
    first = last = 0
    while last < len(rising):
        before, last = last, bisect_right(rising, rising[first] + WIDTH)
        if last > max(before, first + 1):
            found.append((first, last))
        first = max(first + 1, bisect_right(rising, rising[first] + WIDTH / 2))
    return found
