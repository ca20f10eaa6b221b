"""Matrices whose singular values span more than a floating-point number can: `diag(s e^ℓ) N`, s = ±1.

Only the logarithms ℓ `(…, n)` and a matrix N `(…, n, n)` of ordinary size are kept, so a product of
thousands of Jacobians is never formed. `-inf` in ℓ stands for a row of exact zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Sweeps of QR before Jacobi rotations take over: singular values a factor ρ apart come clear of each other
# by ρ² a sweep, so this many settle all but close neighbours.
QR_SWEEPS = 12
JACOBI_SWEEPS = 40  # it converges quadratically, within ten
SETTLED = 1e-12  # the largest cosine between two rows that counts as a right angle


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

    def sorted(self) -> Graded:
        """The same rows from the largest ℓ down: another matrix with the same singular values."""
        log, order = self.log.sort(dim=-1, descending=True)
        rows = self.rows.gather(-2, order.unsqueeze(-1).expand_as(self.rows))
        return Graded(torch.ones_like(self.sign), log, rows)


def log_singular_values(matrix: Graded) -> Tensor:
    """Natural logarithms of the singular values `(…, n)`, from the largest down, each to relative accuracy.

    First some sweeps of the QR iteration: `(diag(d) N)ᵀ = Q (R diag(d))`, again a graded matrix, which comes
    ever closer to a diagonal one. Close neighbours, which that would separate slowly, are left to one-sided
    Jacobi rotations of the rows (Demmel, Veselić 1992: relative accuracy whatever the grading).
    """
    batch, size = matrix.log.shape[:-1], matrix.log.shape[-1]
    flat = Graded(
        matrix.sign.reshape(-1, size), matrix.log.reshape(-1, size), matrix.rows.reshape(-1, size, size)
    )
    result = torch.empty_like(flat.log)
    open_ = torch.arange(len(result), device=result.device)
    for sweep in range(QR_SWEEPS + 1):
        flat = flat.sorted()
        log, units = _units(flat)
        settled = _largest_cosine(log, units) <= SETTLED
        result[open_[settled]] = log[settled]
        left = ~settled
        open_ = open_[left]
        if len(open_) == 0:
            break
        flat = Graded(flat.sign[left], flat.log[left], flat.rows[left])
        if sweep == QR_SWEEPS:
            result[open_] = _jacobi(log[left], units[left])
        else:
            triangle = torch.linalg.qr(flat.rows.mT, mode="r")[1]
            diagonal = replace(Graded.identity((len(open_),), size, log), log=flat.log)
            flat = diagonal.times(triangle)
    return result.sort(dim=-1, descending=True).values.reshape(*batch, size)


def _units(matrix: Graded) -> tuple[Tensor, Tensor]:
    """Rows of length 1, and the logarithms of their lengths."""
    lengths = matrix.rows.norm(dim=-1)
    log = torch.where(lengths > 0, matrix.log + lengths.log(), -math.inf)
    return log, matrix.rows / lengths.clamp_min(torch.finfo(lengths.dtype).tiny).unsqueeze(-1)


def _largest_cosine(log: Tensor, units: Tensor) -> Tensor:
    """The largest cosine between two rows that are not 0, `(M,)`."""
    present = (log > -math.inf).to(units.dtype).unsqueeze(-1)
    there = units * present
    cosines = (there @ there.mT).tril(-1).abs()
    return cosines.flatten(1).amax(-1)


def _jacobi(log: Tensor, units: Tensor) -> Tensor:
    """The logarithms of the lengths that the rows `e^log units` have once they are orthogonal.

    One round rotates n/2 disjoint pairs of rows at once; n - 1 rounds, by the circle method, meet all pairs.
    """
    count, size = log.shape
    if size % 2:  # a row of zeros to pair with
        log = torch.cat((log, log.new_full((count, 1), -math.inf)), dim=1)
        units = torch.nn.functional.pad(units, (0, 0, 0, 1))
    half = log.shape[1] // 2
    around = torch.arange(2 * half, device=log.device)
    # The first row stays, the others go around a circle: down the second half, up the first.
    circle = torch.cat(
        (around[:1], around[half : half + 1], around[1 : half - 1], around[half + 1 :], around[half - 1 : half])
    )
    if half == 1:
        circle = around
    for _ in range(JACOBI_SWEEPS):
        for _ in range(max(1, 2 * half - 1)):
            x, y, a, b = units[:, :half], units[:, half:], log[:, :half], log[:, half:]
            log, units = _rotated(x, y, a, b)
            log, units = log[:, circle], units[:, circle]
        if bool((_largest_cosine(log, units) <= SETTLED).all()):
            break
    return log.sort(dim=-1, descending=True).values[:, :size]


def _rotated(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Rows `e^a x` and `e^b y`, x and y of length 1, turned in their plane until they are orthogonal.

    With c their cosine and ρ ≤ 1 the ratio of their lengths, the tangent of the angle is
    `t = 2ρc / (1 - ρ² + √((1 - ρ²)² + 4ρ²c²))`. The shorter row becomes `y - (t/ρ) x` and the longer
    `x + tρ y`, both times the cosine of the angle: t/ρ stays of ordinary size however small ρ is.
    """
    present = (a > -math.inf) & (b > -math.inf)
    swap = b > a
    wide = swap.unsqueeze(-1)
    x, y = torch.where(wide, y, x), torch.where(wide, x, y)
    a, b = torch.where(swap, b, a), torch.where(swap, a, b)
    ratio = torch.where(present, b - a, -math.inf).exp()
    cosine = torch.where(present, (x * y).sum(-1), 0.0)
    gap = (1 - ratio) * (1 + ratio)
    under = gap + torch.hypot(gap, 2 * ratio * cosine)
    # Of equal length, any angle below 45° would do but this one: 2c / (0 + 2|c|).
    slope = torch.where(under > 0, 2 * cosine / under.clamp_min(torch.finfo(under.dtype).tiny), 0.0)
    tangent = slope * ratio
    scale = (1 + tangent * tangent).rsqrt()
    longer = (x + (tangent * ratio).unsqueeze(-1) * y) * scale.unsqueeze(-1)
    shorter = (y - slope.unsqueeze(-1) * x) * scale.unsqueeze(-1)
    # Back in their places, so that every pair meets.
    rows = torch.cat((torch.where(wide, shorter, longer), torch.where(wide, longer, shorter)), dim=1)
    logs = torch.cat((torch.where(swap, b, a), torch.where(swap, a, b)), dim=1)
    lengths = rows.norm(dim=-1)
    logs = torch.where(lengths > 0, logs + lengths.log(), -math.inf)
    return logs, rows / lengths.clamp_min(torch.finfo(lengths.dtype).tiny).unsqueeze(-1)
