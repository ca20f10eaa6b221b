"""Frames of tangent vectors pushed along a trajectory, refactorised before their directions collapse.

The textbook way puts a QR factorisation after every step (Benettin et al. 1980; Eckmann, Ruelle 1985). It
costs ten times what the step does, and only two things of it are needed: that the frame stays well
conditioned, and that what is taken out of it is upper triangular, because products of such matrices are
too, with the products of their diagonals. A pivoted LU factorisation does both for a fifth of the price
(Bauer's Treppeniteration, 1957): `V = L U`, go on with L, keep U. A QR factorisation where a figure is
wanted turns the product of all U so far into the R that QR at every step would have led to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import NonFiniteError
from unrolled.gradients.recurrence import Push
from unrolled.gradients.spectrum.graded import Graded
from unrolled.gradients.spectrum.system import System

# By how much a vector may come to exceed the part of it that counts, before it is refactorised: the digits
# of that part are fewer by as many. What is left gives an exponent to better than 1e-9 a step, some of which
# is needed: errors grow where exponents come close to each other.
LARGEST_LOSS = {torch.float64: 1e6, torch.float32: 1e2}
SAFETY = 0.9  # of the digits that may be lost, those aimed for: one stretch is not like the other
MEMORY = 0.9  # of the rate at which digits were lost, what is kept when a stretch loses fewer
LONGEST = 64  # steps without a factorisation, even of a single vector
GROWTH = 2  # of the interval, while nothing is known against it
RANGE = {torch.float64: 1e120, torch.float32: 1e15}  # of the largest entry, up and down, between factorisations


@dataclass(frozen=True)
class Factored:
    """`pushed = triangle frame`, with vectors as rows, so that `triangle` would be lower triangular.

    `frame` `(M, k, n)` of M frames; `upper` `(M, k, k)` is the triangle transposed, with anything at all
    below its diagonal; `growth` `(M, k)` the sizes on it; `ahead` `(M, k)` the size of what they are left of.
    """

    frame: Tensor
    upper: Tensor
    growth: np.ndarray
    ahead: np.ndarray


class Frames:
    """F frames of k tangent vectors for each of B samples, of a system with n numbers in its state.

    `log` `(B, F, k)`: the logarithms of what their orthogonal parts have grown by, as far as it is
    factored out; with `graded`, also the whole triangular factor. `every`: how many steps may lie between
    two factorisations; fixed where `qr_every` is a number, else set from the digits that are seen to be
    lost. `warming_up`: whether directions that are lost may come back, as they do at the end of a warm-up.
    """

    def __init__(
        self,
        system: System,
        start: Tensor,
        batch: int,
        qr_every: int | str = "auto",
        graded: bool = False,
        warming_up: bool = False,
    ) -> None:
        self.system, self.start, self.batch = system, start, batch
        self.k, self.size = start.shape
        self.limit = LARGEST_LOSS[start.dtype]
        self.negligible = self.size * torch.finfo(start.dtype).eps
        self.fixed = None if qr_every == "auto" else int(qr_every)
        self.every = self.fixed or 1
        self.rate = 0.0  # of the logarithm of the loss, per step
        self.steps = self.factorisations = 0
        self.v = start.new_empty(batch, 0, self.k, self.size)
        self.log = np.zeros((batch, 0, self.k))
        self.all_alive = True
        self.warming_up = warming_up
        self.graded = Graded.identity((batch, 0), self.k, start.double()) if graded else None
        self._spare: list[Tensor] = []

    def begin(self) -> None:
        """Add a frame that starts with the vectors `start`."""
        self.v = torch.cat((self.v, self.start.expand(self.batch, 1, -1, -1)), dim=1)
        self.log = np.concatenate((self.log, np.zeros((self.batch, 1, self.k))), axis=1)
        if self.graded is not None:
            one = Graded.identity((self.batch, 1), self.k, self.graded.log)
            pairs = ((self.graded.sign, one.sign), (self.graded.log, one.log), (self.graded.rows, one.rows))
            self.graded = Graded(*(torch.cat(pair, dim=1) for pair in pairs))
        self._spare = [torch.empty_like(self.v).view(-1, self.size) for _ in range(2)]

    def advance(self, push: Push, first: int, last: int, start: int = 0) -> None:
        """Push all frames from state `first` to `last` of a stretch that starts at step `start`.

        Raises `NonFiniteError` where a single step overflows.
        """
        while first < last:
            count = min(self.every, last - first)
            if self._advanced(push, first, count, start):
                first += count
                self.steps += count
                self.factorisations += 1
            else:
                self.every = min(self.every, max(1, count // 2))

    def _advanced(self, push: Push, first: int, count: int, start: int) -> bool:
        """Push by `count` steps and factorise; False, and nothing has changed, where that was too many."""
        pushed = self._pushed(push, first, first + count)
        largest = pushed.abs().amax(-2).cpu().numpy()  # per number of the state
        top = float(largest.max())
        if not math.isfinite(top) and count == 1:
            raise NonFiniteError(
                f"expected a finite Jacobian of {self.system.label}, got nan or inf, first at step "
                f"{start + first}; a single step of this network overflows, so lower its recurrent weights",
                module=self.system.module,
                layer=self.system.layer,
                step=start + first,
            )
        limit = RANGE[pushed.dtype]
        if count > 1 and not 1 / limit <= top <= limit:
            return False
        return self._take((_lu if self.fixed is None else _qr)(pushed, largest), count)

    def read(self) -> np.ndarray:
        """`(B, F, k)`: logarithms of what the orthogonal parts have grown by so far."""
        if self.fixed is not None:
            return self.log
        triangle = torch.linalg.qr(self.v.mT, mode="r")[1]
        result: np.ndarray = self.log + _log(triangle.diagonal(dim1=-2, dim2=-1).abs())
        return result

    def orthogonalise(self) -> None:
        """Make the frames orthonormal and forget all growth: the end of a warm-up."""
        self.warming_up = False
        self.v = torch.linalg.qr(self.v.mT)[0].mT.contiguous()
        self.log = np.zeros_like(self.log)
        self.all_alive = True

    def matrix(self) -> Graded:
        """The triangular factor of the product so far: it has the singular values of the product."""
        if self.graded is None:
            raise TypeError("expected frames that keep their triangles")
        return self.graded.times(torch.linalg.qr(self.v.mT, mode="r")[1].double())

    def _pushed(self, push: Push, first: int, last: int) -> Tensor:
        """All frames `(B * F, k, n)` after these steps; `v` stays."""
        source = self.v.view(-1, self.size)
        for t in range(first, last):
            target = self._spare[(t - first) % 2]
            push(t, source, target)
            source = target
        return source.view(-1, self.k, self.size)

    def _take(self, found: Factored, count: int) -> bool:
        """Go on with a factorisation if the digits lasted for it; sets the interval from here on."""
        growth, ahead = found.growth.reshape(self.log.shape), found.ahead.reshape(self.log.shape)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            loss = ahead / growth
            lost = np.logical_not(loss < 1 / self.negligible)
            if lost.any() or not self.all_alive:
                # Directions lost for good have no digits to lose, nor has what is 0 after a single step.
                for_good = (self.log == -math.inf) & (not self.warming_up)
                loss[for_good | (lost & (count == 1))] = 1.0
            if not self._bearable(float(loss.max()), count):
                return False
            self.log = self.log + np.log(growth)
        if lost.any():
            self.log[lost] = -math.inf
            self.all_alive = False
        self.v = found.frame.view(self.v.shape)
        if self.graded is not None:
            gone = torch.from_numpy(lost).to(found.frame.device)
            self.graded = self.graded.times(found.upper.double().view(*self.log.shape, self.k), gone)
        return True

    def _bearable(self, loss: float, count: int) -> bool:
        """Whether so many steps may lie between two factorisations."""
        if self.fixed is not None:
            self.every = self.fixed
            return count == 1 or loss <= self.limit
        if count > 1 and not loss <= self.limit:
            return False
        if count == self.every:  # one cut short by a mark says nothing
            self.rate = max(math.log(loss) / count, MEMORY * self.rate)
            bearable = SAFETY * math.log(self.limit) / max(self.rate, 1e-9)
            self.every = max(1, min(int(bearable), GROWTH * count, LONGEST))
        return True


def random_directions(size: int, k: int, like: Tensor) -> Tensor:
    """k orthonormal rows, the same each time: special directions might miss a subspace.

    Fewer of them are the first of many.
    """
    generator = torch.Generator().manual_seed(0)
    # One by one: the last numbers of a draw depend on how many there are.
    start = [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(k)]
    rows: Tensor = torch.linalg.qr(torch.stack(start).mT)[0].mT.to(like)
    return rows


def _lu(pushed: Tensor, largest: np.ndarray) -> Factored:
    """With rows exchanged for the largest pivot, which leaves rows of zeros, such as dead units', exactly 0.

    (Rows of the matrix whose columns are the vectors, the largest entries of which are given.) The error of
    an entry is relative to its row, so that is what a pivot is judged by.
    """
    k, size = pushed.shape[-2:]
    packed, pivots, _ = torch.linalg.lu_factor_ex(pushed.mT)
    orders = np.array([_order(one, size) for one in pivots.tolist()])
    places = torch.from_numpy(orders.argsort(axis=-1)).to(pushed.device)
    # L, with vectors as rows: 1 on the diagonal, and back in the order of the state.
    unit, above = _masks(k, size, pushed.dtype, pushed.device)
    lower = torch.addcmul(unit, packed.mT, above)
    frame = lower.gather(-1, places.unsqueeze(-2).expand_as(lower))
    growth = np.abs(packed.diagonal(dim1=-2, dim2=-1).cpu().numpy())
    return Factored(frame, packed[:, :k], growth, largest[np.arange(len(orders))[:, None], orders[:, :k]])


@cache
def _masks(k: int, size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """A diagonal of ones, and ones above it; a product with these takes half the time of `triu`."""
    ones = torch.ones(k, size, dtype=dtype, device=device)
    return torch.eye(k, size, dtype=dtype, device=device), ones.triu(1)


def _order(pivots: list[int], size: int) -> list[int]:
    """Which row of the matrix has become each row of L, from the exchanges of rows one after the other."""
    order = list(range(size))
    for place, pivot in enumerate(pivots):
        order[place], order[pivot - 1] = order[pivot - 1], order[place]
    return order


def _qr(pushed: Tensor, largest: np.ndarray) -> Factored:
    """The textbook way, whose error is relative to the largest entry of all."""
    q, upper = torch.linalg.qr(pushed.mT)
    growth = np.abs(upper.diagonal(dim1=-2, dim2=-1).cpu().numpy())
    return Factored(
        q.mT.contiguous(), upper, growth, np.broadcast_to(largest.max(-1, keepdims=True), growth.shape)
    )


def _log(sizes: Tensor) -> np.ndarray:
    result: np.ndarray = sizes.double().log().cpu().numpy()
    return result
