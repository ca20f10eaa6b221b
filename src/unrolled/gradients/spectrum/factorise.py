"""Pushed tangents taken apart into a well conditioned frame and an upper triangle, `V = frame R`.

The Cholesky factor of the Gram matrix `VᵀV` is R, and `V R⁻¹` a frame that is as close to an orthonormal one
as the square of V's condition allows (CholeskyQR: Stathopoulos, Wu 2002; Yamamoto et al. 2015): it takes a
third of the time of Householder's reflections, but vectors that have kept half of their digits. Those
reflections take any V, with an error relative to the largest entry of a column. The error of elimination
with exchanged rows (Bauer's Treppeniteration, 1957) is relative to a row, so that rows of very different size
keep their digits, and rows of zeros, such as dead units', stay exactly 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Shape = tuple[int, int, int]  # samples B, frames F, vectors k


@dataclass(frozen=True)
class Factored:
    """`V = frame R` for F frames of k vectors for each of B samples.

    `frame` `(n, M)` in the layout of `V`; `upper` `(B, F, k, k)` is R, with anything at all below its
    diagonal. `sizes` `(B, F, ·)`: first, of what each vector's part in R is the rest, in the sense in which
    the error is relative to it; their largest is about V's. `failed` `(B, F)` is not 0 where there is no
    factor, None where there always is. A single frame of a single sample has no B and F.
    """

    frame: Tensor
    upper: Tensor
    sizes: Tensor
    failed: Tensor | None = None


def matrices(v: Tensor, shape: Shape) -> Tensor:
    """Tangents `(n, M)` as matrices `(B, F, n, k)`, a single one as `(n, k)`; further columns only fill up."""
    batch, frames, k = shape
    if batch * frames == 1:
        return v if v.shape[1] == k else v[:, :k]
    return v.as_strided((batch, frames, len(v), k), (frames * k, k, v.shape[1], 1))


def tangents(frames: Tensor, columns: int) -> Tensor:
    """Matrices side by side, `(n, M)`, filled up with zeros to so many columns."""
    flat = frames if frames.dim() == 2 else frames.permute(2, 0, 1, 3).flatten(1)
    missing = columns - flat.shape[1]
    return torch.nn.functional.pad(flat, (0, missing)) if missing else flat.contiguous()


def cholesky(v: Tensor, shape: Shape) -> Factored:
    """By way of the Gram matrix: fails, or leaves a frame of little use, where V has lost too many digits."""
    pushed = matrices(v, shape)
    gram = pushed.mT @ pushed
    upper, failed = torch.linalg.cholesky_ex(gram, upper=True)
    # Rᵀ frameᵀ = Vᵀ, as this way around no copy is made: LAPACK's matrices are columns by columns.
    frame = torch.linalg.solve_triangular(upper.mT, pushed.mT, upper=False).mT
    lengths = gram.diagonal(dim1=-2, dim2=-1).sqrt()
    return Factored(tangents(frame, v.shape[1]), upper, lengths, failed)


def upper_factor(v: Tensor, shape: Shape, is_frame: bool) -> Tensor:
    """R alone `(B, F, k, k)`; of a frame from `cholesky` in the same way, which loses nothing there."""
    pushed = matrices(v, shape)
    if is_frame:
        found: Tensor
        found, failed = torch.linalg.cholesky_ex(pushed.mT @ pushed, upper=True)
        if not bool(failed.any()):
            return found
    found = torch.linalg.qr(pushed, mode="r")[1]
    return found


def qr(v: Tensor, shape: Shape) -> Factored:
    """By reflections: an orthonormal frame."""
    q, upper = torch.linalg.qr(matrices(v, shape))
    return Factored(tangents(q, v.shape[1]), upper, upper.abs().amax(-2))


def lu(v: Tensor, shape: Shape) -> Factored:
    """By elimination: a frame of unit lower triangles, with rows exchanged for the largest pivot."""
    pushed = matrices(v, shape)
    # One by one: in a batch of large matrices, MKL's threads and torch's spoil each other's exchanges of rows,
    # to wrong ones or to a standstill.
    each = [torch.linalg.lu_factor_ex(one)[:2] for one in pushed.reshape(-1, *pushed.shape[-2:])]
    packed, pivots = (torch.stack(parts) for parts in zip(*each, strict=True))
    exchanged, lower, upper = torch.lu_unpack(
        packed.view_as(pushed), pivots.view(*pushed.shape[:-2], pivots.shape[-1])
    )
    rows = exchanged.mT @ pushed.abs().amax(-1, keepdim=True)
    return Factored(tangents(exchanged @ lower, v.shape[1]), upper, rows.squeeze(-1))
