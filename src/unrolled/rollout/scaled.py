"""Tensors as mantissas with integer exponents, so that no gradient is too small or too large to hold.

A `Scaled` holds `mantissa * 2**exponent`. Rescaling multiplies by exact powers of two, so it changes no
digit of what it holds: ten thousand halvings are `2**-10000`, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.results.codec import require

LOG10_2 = math.log10(2)

# The exponent of a zero. Far below any real one, and far enough from the ends of int64 to be added to.
ZERO_EXPONENT = -(2**40)

# How far, in powers of two, a norm may drift from 1 before it is rescaled. Its square is in range too, and so
# are the squares of the entries that it is the norm of: norms are taken in the dtype itself.
DRIFT = {torch.float32: 48, torch.float64: 450}

# Sign-free layout of IEEE 754: (integer type of the same width, bits of mantissa, bias of the exponent).
_LAYOUT = {torch.float32: (torch.int32, 23, 127), torch.float64: (torch.int64, 52, 1023)}


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that mantissas are kept in: float64 for float64, float32 for anything narrower."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def power_of_two(exponent: Tensor, dtype: torch.dtype) -> Tensor:
    """`2**exponent`, exact, written bit by bit; the exponent is first clamped to the normal range."""
    integer, bits, bias = _LAYOUT[dtype]
    return (exponent.clamp(1 - bias, bias) + bias).to(integer).bitwise_left_shift(bits).view(dtype)


def shift(tensor: Tensor, exponent: Tensor) -> Tensor:
    """`tensor * 2**exponent`, where `exponent` covers the leading dimensions of `tensor`.

    In two factors, because `2**exponent` alone may be out of range where the product is not
    (`torch.ldexp` of some versions returns inf there).
    """
    half = exponent.div(2, rounding_mode="floor")
    for part in (half, exponent - half):
        factor = power_of_two(part, tensor.dtype)
        tensor = tensor * factor.reshape(factor.shape + (1,) * (tensor.dim() - factor.dim()))
    return tensor


def check_logs(logs: np.ndarray, dimensions: int, what: str) -> None:
    """Raise `ValueError` unless these are logarithms of norms: finite, or -inf for exactly 0."""
    require(logs.ndim == dimensions and logs.size > 0, f"{what} of {dimensions} dimensions, got {logs.shape}")
    known = logs[~np.isneginf(logs)]
    require((np.abs(known) < -ZERO_EXPONENT).all(), f"finite {what}, or -inf")


@dataclass(frozen=True)
class Scaled:
    """The numbers `mantissa * 2**exponent`.

    `mantissa` is float32 or float64, of any shape; `exponent` is int64 and covers the leading dimensions:
    a cotangent `(T, B, H)` has one exponent per step and sample `(T, B)`, a weight gradient one `()`.
    """

    mantissa: Tensor
    exponent: Tensor

    @classmethod
    def of(cls, tensor: Tensor, leading: int = 0) -> Scaled:
        """`tensor` as it is, with one exponent for each index of its first `leading` dimensions."""
        exponent = torch.zeros(tensor.shape[:leading], dtype=torch.int64, device=tensor.device)
        return cls(tensor.to(working_dtype(tensor.dtype)), exponent)

    @property
    def leading(self) -> int:
        """How many dimensions the exponent covers."""
        return self.exponent.dim()

    def magnitude(self) -> Tensor:
        """The binary exponent of the largest entry under each exponent; `ZERO_EXPONENT` where all are 0."""
        if self.mantissa.dim() > self.leading:
            entries = self.mantissa.flatten(self.leading)
            largest = torch.maximum(entries.amax(-1), -entries.amin(-1))  # no copy of all, as abs() makes
        else:
            largest = self.mantissa.abs()
        own = torch.frexp(largest)[1].to(torch.int64)
        return torch.where(largest == 0, ZERO_EXPONENT, self.exponent + own)

    def at(self, exponent: Tensor) -> Tensor:
        """The mantissas that these numbers have at another exponent."""
        return shift(self.mantissa, (self.exponent - exponent).expand(self.exponent.shape))

    def normalised(self) -> Scaled:
        """The same numbers with the largest mantissa under each exponent in [1/2, 1)."""
        exponent = self.magnitude()
        exponent = torch.where(exponent == ZERO_EXPONENT, 0, exponent)
        return Scaled(self.at(exponent), exponent)

    def __add__(self, other: Scaled) -> Scaled:
        return total((self, other))

    def scale(self, factor: float, exponent: int = 0) -> Scaled:
        """These numbers times `factor * 2**exponent`."""
        mantissa = self.mantissa if factor == 1 else self.mantissa * factor
        return Scaled(mantissa, self.exponent + exponent)

    def by_sample(self, factor: Tensor, exponent: Tensor) -> Scaled:
        """These numbers times `factor * 2**exponent`, both with a number for each exponent of these."""
        wide = factor.reshape(factor.shape + (1,) * (self.mantissa.dim() - factor.dim()))
        return Scaled(self.mantissa * wide.to(self.mantissa.dtype), self.exponent + exponent)

    def times(self, factors: Tensor) -> Scaled:
        """These numbers times others, entry by entry."""
        return Scaled(self.mantissa * factors.to(self.mantissa.dtype), self.exponent)

    def value(self) -> Tensor:
        """As an ordinary tensor: 0 or inf where that is out of range."""
        return self.at(torch.zeros_like(self.exponent))

    def log2_norm(self) -> Tensor:
        """log2 of the L2 norm under each exponent, float64; `-inf` for a zero.

        Exact wherever the norm is an exact power of two.
        """
        unit = self.normalised()
        rows = (
            unit.mantissa.flatten(self.leading)
            if unit.mantissa.dim() > self.leading
            else unit.mantissa[..., None]
        )
        return log2(torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64), unit.exponent)


def total(parts: Sequence[Scaled]) -> Scaled:
    """The sum, brought to a common exponent once."""
    if len(parts) == 1:
        return parts[0]
    magnitudes = torch.stack([part.magnitude() for part in parts]).amax(0)
    exponent = torch.where(magnitudes == ZERO_EXPONENT, 0, magnitudes)
    mantissa = parts[0].at(exponent)
    for part in parts[1:]:
        mantissa = mantissa + part.at(exponent)
    return Scaled(mantissa, exponent)


def log2(norm: Tensor, exponent: Tensor) -> Tensor:
    """log2 of `norm * 2**exponent`, float64, exact for powers of two; `norm` is float64."""
    mantissa, own = torch.frexp(norm)
    return mantissa.log2() + (own.to(torch.int64) + exponent)


def log2_total(log2_norms: list[float]) -> float:
    """log2 of the root of the sum of squares of norms that are given by their log2."""
    largest = max(log2_norms, default=-math.inf)
    if not math.isfinite(largest):
        return largest
    return largest + 0.5 * math.log2(math.fsum(4.0 ** (value - largest) for value in log2_norms))


def log2_rms(log2_norms: np.ndarray) -> np.ndarray:
    """log2 of the root mean square over the last dimension, without NaN; exact for equal entries."""
    largest = np.max(np.where(np.isnan(log2_norms), -np.inf, log2_norms), axis=-1, keepdims=True)
    finite = np.where(np.isfinite(largest), largest, 0.0)
    present = ~np.isnan(log2_norms)
    squares = np.where(present, np.exp2(2 * (np.where(present, log2_norms, 0.0) - finite)), 0.0)
    with np.errstate(divide="ignore"):  # log2 of 0 is the -inf that is meant
        spread = 0.5 * np.log2(squares.sum(-1) / np.maximum(present.sum(-1), 1))
    result: np.ndarray = finite[..., 0] + spread
    return result
