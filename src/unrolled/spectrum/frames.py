"""Frames of tangent vectors pushed along a trajectory, refactorised before their directions collapse.

The textbook way puts a QR factorisation after every step (Benettin et al. 1980; Eckmann, Ruelle 1985). It
costs several times what the step does, and only two things of it are needed: that the frame stays well
conditioned, and that what is taken out of it is upper triangular, because products of such matrices are
too, with the products of their diagonals. So any factorisation does that has both, and only as often as
digits are lost. Where a figure is wanted, the frame's own R turns the product of all triangles so far into the
one that QR at every step would have led to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unrolled.cells.push_forward import Push
from unrolled.errors import NonFiniteError
from unrolled.spectrum.factorise import LU, QR, Cholesky, Factorisation, matrices
from unrolled.spectrum.graded import Graded
from unrolled.spectrum.system import System

# By how much a vector may come to exceed the part of it that counts, before it is refactorised: the digits
# of that part are fewer by as many. What is left gives an exponent to better than 1e-8 a step, some of which
# is needed: errors grow where exponents come close to each other. And its square has to leave some digits to
# the Gram matrix of `Cholesky`.
LARGEST_LOSS = {torch.float64: 1e7, torch.float32: 1e2}
# By how much the squared lengths of a frame may differ from k, in sum: of one that can be relied on, and of
# one that counts as orthonormal.
FIRM, ORTHONORMAL = 0.3, 1e-9
BEYOND = 10  # times as much is taken to be lost where a factorisation turns out to have failed
SAFETY = 0.9  # of the digits that may be lost, those aimed for: one stretch is not like the other
MEMORY = 0.97  # of the rate at which digits were lost, what is kept when a stretch loses fewer
LONGEST = 64  # steps without a factorisation, even of a single vector
GROWTH = 2  # of the interval, while nothing is known against it
FEW = 2  # multiples up to which columns are filled up: what it takes is more than what it saves from there on
RANGE = {torch.float64: 1e120, torch.float32: 1e15}  # of the largest entry, up and down, between factorisations
# Stretches that are pushed on trust before all are looked at, and the numbers in their frames: looking takes
# as long as a factorisation of few vectors, and on a GPU waits for it.
TOGETHER, NUMBERS_TOGETHER = 32, 2**17


class Frames:
    """F frames of k tangent vectors for each of B samples, of a system with n numbers in its state.

    `start` `(n, k)` are the vectors that a frame starts with. `log` `(B, F, k)`: the logarithms of what their
    orthogonal parts have grown by, as far as it is factored out; with `graded`, also the whole triangular
    factor. Vectors are taken apart by `Cholesky`, and by `LU` once a single step has lost too much for it; by
    `QR` where `qr_every` is a number. `every`: how many steps may lie between two factorisations; fixed where
    `qr_every` is a number, else set from the digits that are seen to be lost. `warming_up`: whether directions
    that are lost may come back, as they do at the end of a warm-up. `multiple`: the number of columns `M` of
    `v` `(n, M)`, if it is a small one, is filled up to a multiple of it.
    """

    def __init__(
        self,
        system: System,
        start: Tensor,
        batch: int,
        qr_every: int | str = "auto",
        graded: bool = False,
        warming_up: bool = False,
        multiple: int = 1,
    ) -> None:
        self.system, self.start, self.batch, self.multiple = system, start, batch, multiple
        self.size, self.k = start.shape
        self.limit = LARGEST_LOSS[start.dtype]
        self.negligible = self.size * torch.finfo(start.dtype).eps
        self.fixed = None if qr_every == "auto" else int(qr_every)
        self.kind: type[Factorisation] = Cholesky if self.fixed is None else QR
        self.every = self.fixed or 1
        self.together = 1
        self.rate = 0.0  # of the logarithm of the loss, per step
        self.steps = self.factorisations = 0
        self.log = np.zeros((batch, 0, self.k))
        self.all_alive = True
        self.warming_up = warming_up
        self.graded = Graded.identity((batch, 0), self.k, start.double()) if graded else None
        self.v, self.off = start.new_zeros(self.size, 0), 0.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(B, F, k)`."""
        return self.batch, self.log.shape[1], self.k

    def begin(self) -> None:
        """Add a frame that starts with the vectors `start`."""
        start = self.start.expand(self.batch, 1, -1, -1)
        before = matrices(self.v, self.shape).reshape(*self.shape[:2], self.size, self.k)
        every = torch.cat((before, start), dim=1)
        self.log = np.concatenate((self.log, np.zeros((self.batch, 1, self.k))), axis=1)
        if self.graded is not None:
            one = Graded.identity((self.batch, 1), self.k, self.graded.log)
            pairs = ((self.graded.sign, one.sign), (self.graded.log, one.log), (self.graded.rows, one.rows))
            self.graded = Graded(*(torch.cat(pair, dim=1) for pair in pairs))
        count = math.prod(self.shape)
        if self.batch == 1 and count < FEW * self.multiple:
            count = -(-count // self.multiple) * self.multiple
        self.v = self.start.new_zeros(self.size, count)
        inside = matrices(self.v, self.shape)
        inside.copy_(every.view_as(inside))
        self._spare = (torch.zeros_like(self.v), torch.zeros_like(self.v))
        self._most = min(TOGETHER, max(1, NUMBERS_TOGETHER // self.v.numel()))
        self._next = list(self.v.new_zeros(self._most, *self.v.shape).unbind())
        self._take_apart_by(self.kind)

    def _take_apart_by(self, kind: type[Factorisation]) -> None:
        self.kind, self._factorise = kind, kind(self.v, self.shape, self._most)

    def advance(self, push: Push, first: int, last: int, start: int = 0) -> None:
        """Push all frames from state `first` to `last` of a stretch that starts at step `start`.

        Raises `NonFiniteError` where a single step overflows.
        """
        while first < last:
            counts = self._stretches(last - first)
            v, now = self.v, first
            for number, (count, frame) in enumerate(zip(counts, self._next, strict=False)):
                self._factorise(number, push(now, now + count, v, self._spare), frame)
                v, now = frame, now + count
            taken = self._take(counts, start + first)
            first, self.steps = first + taken, self.steps + taken

    def _stretches(self, steps: int) -> list[int]:
        """The lengths of the next few stretches out of so many steps, none above `every`."""
        every = self.every
        number = -(-steps // every)
        few = min(number, self.together, self._most)
        if self.fixed is not None:
            return [min(every, steps - every * done) for done in range(few)]
        return [steps * (done + 1) // number - steps * done // number for done in range(few)]

    def _take(self, counts: Sequence[int], step: int) -> int:
        """Go on with those stretches from step `step` on whose digits lasted; how many steps they come to.

        Sets the interval from here on. Raises `NonFiniteError` where the first is one step that overflows.
        """
        left, whole, off = self._factorise.found(len(counts))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            losses, grown = whole[..., : self.k] / left, np.log(left)
        worst, largest = losses.max((1, 2, 3)).tolist(), whole.max((1, 2, 3)).tolist()
        done = 0
        for number, count in enumerate(counts):
            loss, loose = worst[number], self.kind is Cholesky and not off[number] <= FIRM
            if self.kind is Cholesky and count == 1 and (loose or not loss <= self.limit):
                self._take_apart_by(LU)  # from here on: it may not lose so much
                break
            if not self._within_range(largest[number], count):
                if count == 1 and number == 0:
                    self._raise(step)
                self.every = max(1, count // 2)
                break
            lost = None
            if not (self.all_alive and loss < 1 / self.negligible):
                lost = ~(losses[number] < 1 / self.negligible)
                # Directions lost for good have no digits to lose, nor has what is 0 after a single step.
                for_good = (self.log == -math.inf) & (not self.warming_up)
                loss = float(np.where(for_good | (lost & (count == 1)), 1.0, losses[number]).max())
            if not self._bearable(max(loss, BEYOND * self.limit) if loose else loss, count):
                break
            self._accept(number, grown[number], lost)
            self.off = off[number]
            done += count
        else:
            self._go_further(max(counts))
            return done
        self.together = 1
        return done

    def _within_range(self, largest: float, count: int) -> bool:
        """Whether the largest entry can be relied on, after so many steps; a single one may lead anywhere."""
        limit = RANGE[self.v.dtype]
        return 1 / limit <= largest <= limit or (count == 1 and math.isfinite(largest))

    def _raise(self, step: int) -> None:
        raise NonFiniteError(
            f"expected a finite Jacobian of {self.system.label}, got nan or inf, first at step {step}; a "
            "single step of this network overflows, so lower its recurrent weights",
            module=self.system.module,
            layer=self.system.layer,
            step=step,
        )

    def _bearable(self, loss: float, count: int) -> bool:
        """Whether a stretch of so many steps may lose so much; if not, the next is shorter."""
        if math.isnan(loss):  # zeros of zeros: what was lost in which step, and what of the others?
            self.every = 1
            return False
        rate = math.log(min(max(loss, 1.0), 1 / self.negligible)) / count
        if count == 1 or loss <= self.limit:
            self.rate = max(rate, MEMORY * self.rate)
            return True
        self.rate = max(rate, self.rate)
        self.every = max(1, min(count - 1, self._aim()))
        return False

    def _aim(self) -> int:
        """Steps in which as many digits are lost as is aimed for."""
        return int(SAFETY * math.log(self.limit) / max(self.rate, 1e-9))

    def _accept(self, number: int, grown: np.ndarray, lost: np.ndarray | None) -> None:
        """Go on with a frame, and add up what has been taken out of it."""
        self.log += grown
        if lost is not None and lost.any():
            self.log[lost] = -math.inf
            self.all_alive = False
        self.v, self._next[number] = self._next[number], self.v
        self.factorisations += 1
        if self.graded is not None:
            gone = None if lost is None else torch.from_numpy(lost).to(self.v.device)
            triangle = self._factorise.upper(number).double()
            self.graded = self.graded.times(triangle.reshape(*self.shape, self.k), gone)

    def _go_further(self, longest: int) -> None:
        """Set the interval, and how many stretches to push on trust, after all of some were borne."""
        if self.fixed is not None:
            self.every, self.together = self.fixed, TOGETHER
            return
        aim = min(self._aim(), LONGEST)
        if 2 * longest > self.every:  # those cut short by a mark say little
            self.every = max(1, min(aim, GROWTH * longest))
        if self.every <= longest:
            self.together = min(2 * self.together, TOGETHER)

    def read(self) -> np.ndarray:
        """`(B, F, k)`: logarithms of what the orthogonal parts have grown by so far."""
        if self.off < ORTHONORMAL:
            return self.log.copy()
        triangle = self._factorise.triangle(self.v)
        left = triangle.diagonal(dim1=-2, dim2=-1).double().cpu().numpy()
        with np.errstate(divide="ignore"):
            result: np.ndarray = self.log + np.log(abs(left)).reshape(self.shape)
        return result

    def orthogonalise(self) -> None:
        """Make the frames orthonormal and forget all growth: the end of a warm-up."""
        self.warming_up = False
        frame = torch.linalg.qr(matrices(self.v, self.shape))[0]
        matrices(self.v, self.shape).copy_(frame)
        self.log, self.off = np.zeros_like(self.log), 0.0
        self.all_alive = True
        if self.fixed is None:
            self._take_apart_by(Cholesky)

    def matrix(self) -> Graded:
        """The triangular factor of the product so far: it has the singular values of the product."""
        if self.graded is None:
            raise TypeError("expected frames that keep their triangles")
        triangle = self._factorise.triangle(self.v)
        return self.graded.times(triangle.double().reshape(*self.shape, self.k))


def random_directions(size: int, k: int, like: Tensor) -> Tensor:
    """k orthonormal columns `(size, k)`, the same each time: special directions might miss a subspace.

    Fewer of them are the first of many.
    """
    generator = torch.Generator().manual_seed(0)
    # One by one: the last numbers of a draw depend on how many there are.
    start = [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(k)]
    columns: Tensor = torch.linalg.qr(torch.stack(start, dim=1))[0].to(like)
    return columns
