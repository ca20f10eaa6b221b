"""Sets of tangent vectors, pushed along a trajectory and factorised before all collapse onto one direction.

The textbook puts a QR factorisation after every step (Benettin et al. 1980; Eckmann, Ruelle 1985), which costs several
times what the step does. Two things of it are needed: vectors that stay well conditioned, and an upper triangular
factor, as a product of upper triangles is one too and has the product of their diagonals. Any factorisation that gives
both will do (`choice`), and only as often as digits are lost (`interval`). Where a figure is wanted, the R factor of
the vectors as they are turns the product of all triangles so far into the one that QR at every step would have given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unrolled.cells.push_forward import Push
from unrolled.errors import NonFiniteError
from unrolled.observed.system import System
from unrolled.spectrum.choice import Choice
from unrolled.spectrum.factorise import matrices
from unrolled.spectrum.graded import Graded
from unrolled.spectrum.interval import BEYOND, FILLED_UP, NUMBERS_ON_TRUST, ON_TRUST, ORTHONORMAL, Interval


class Tangents:
    """F sets of k tangent vectors for each of B samples, of a system with n numbers in its state.

    `start` `(n, k)` are the vectors that each set starts with. `log` `(B, F, k)` are the logarithms of how much the
    orthogonal parts have grown, as far as it is factored out; with `graded`, the product of the triangles is kept too.
    During a warm-up (`warming_up`), directions that were lost may come back, as its end draws new ones for them. The
    number of columns `M` of `v` `(n, M)`, if small, is filled up to a multiple of `multiple`.
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
        self.interval = Interval(start.dtype, self.size, qr_every)
        self.choice = Choice(qr=qr_every != "auto")
        self.steps = self.factorisations = 0
        self.log = np.zeros((batch, 0, self.k))
        self.none_lost = True
        self.warming_up = warming_up
        self.graded = Graded.identity((batch, 0), self.k, start.double()) if graded else None
        self.v, self.defect = start.new_zeros(self.size, 0), 0.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(B, F, k)`."""
        return self.batch, self.log.shape[1], self.k

    def add_set(self) -> None:
        """Add a set of tangents that starts with the vectors `start`."""
        before = matrices(self.v, self.shape).reshape(*self.shape[:2], self.size, self.k)
        vectors = torch.cat((before, self.start.expand(self.batch, 1, -1, -1)), dim=1)
        self.log = np.concatenate((self.log, np.zeros((self.batch, 1, self.k))), axis=1)
        if self.graded is not None:
            self.graded = self.graded.joined(Graded.identity((self.batch, 1), self.k, self.graded.log))
        columns = math.prod(self.shape)
        if self.batch == 1 and columns < FILLED_UP * self.multiple:
            columns = -(-columns // self.multiple) * self.multiple
        self.v = self.start.new_zeros(self.size, columns)
        inside = matrices(self.v, self.shape)
        inside.copy_(vectors.view_as(inside))
        self._spare = (torch.zeros_like(self.v), torch.zeros_like(self.v))
        most = min(ON_TRUST, max(1, NUMBERS_ON_TRUST // self.v.numel()))
        self._bases = list(self.v.new_zeros(most, *self.v.shape).unbind())
        self._prepare()

    def _prepare(self) -> None:
        self._factorise = self.choice.kind(self.v, self.shape, len(self._bases))

    def advance(self, push: Push, first: int, last: int, start: int = 0) -> None:
        """Push all sets from state `first` to `last` of steps that are numbered from step `start` on.

        Raises `NonFiniteError` where a single step overflows.
        """
        while first < last:
            lengths = self.interval.blocks(last - first, len(self._bases))
            v, now = self.v, first
            for number, (length, basis) in enumerate(zip(lengths, self._bases, strict=False)):
                self._factorise(number, push(now, now + length, v, self._spare), basis)
                v, now = basis, now + length
            accepted = self._accept(lengths, start + first)
            first, self.steps = first + accepted, self.steps + accepted

    def _accept(self, lengths: Sequence[int], step: int) -> int:
        """Go on with the blocks up to the first that lost too much; the steps that they come to.

        They begin at step `step`. Raises `NonFiniteError` where the first is one step that overflows.
        """
        remains, sizes, defects = self._factorise.measured(len(lengths))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            losses, growth = sizes[..., : self.k] / remains, np.log(remains)
        worst, largest = losses.max((1, 2, 3)).tolist(), sizes.max((1, 2, 3)).tolist()
        interval, total_loss, done = self.interval, self.interval.total_loss, 0
        for number, length in enumerate(lengths):
            loss, failed = worst[number], self.choice.failed(defects[number])
            if length == 1 and self.choice.gives_up(failed, loss, interval.limit):
                self._prepare()
                break
            if not interval.in_range(largest[number], length):
                if length == 1 and number == 0:
                    self._raise(step)
                interval.steps = max(1, length // 2)
                break
            lost = None
            if not (self.none_lost and loss < total_loss):
                lost = ~(losses[number] < total_loss)
                # A direction lost for good needs no shorter interval, nor does one that a single step makes 0.
                ignored = (self.log == -math.inf) & (not self.warming_up)
                loss = float(np.where(ignored | (lost & (length == 1)), 1.0, losses[number]).max())
            if not interval.accepts(max(loss, BEYOND * interval.limit) if failed else loss, length):
                break
            self._go_on(number, growth[number], lost)
            self.defect = defects[number]
            done += length
        else:
            interval.lengthen(max(lengths))
            return done
        interval.on_trust = 1
        return done

    def _raise(self, step: int) -> None:
        raise NonFiniteError(
            f"expected a finite Jacobian of {self.system.label}, got nan or inf, first at step {step}; a single step "
            "of this network overflows, so lower its recurrent weights",
            module=self.system.module,
            layer=self.system.layer,
            step=step,
        )

    def _go_on(self, number: int, growth: np.ndarray, lost: np.ndarray | None) -> None:
        """Go on with the basis of a block, and add up the triangle that it leaves behind."""
        self.log += growth
        if lost is not None and lost.any():
            self.log[lost] = -math.inf
            self.none_lost = False
        self.v, self._bases[number] = self._bases[number], self.v
        self.factorisations += 1
        if self.graded is not None:
            zero_rows = None if lost is None else torch.from_numpy(lost).to(self.v.device)
            triangle = self._factorise.upper(number).double()
            self.graded = self.graded.times(triangle.reshape(*self.shape, self.k), zero_rows)

    def read(self) -> np.ndarray:
        """`(B, F, k)`: logarithms of how much the orthogonal parts have grown so far."""
        if self.defect < ORTHONORMAL:
            return self.log.copy()
        triangle = self._factorise.triangle(self.v)
        diagonal = triangle.diagonal(dim1=-2, dim2=-1).double().cpu().numpy()
        with np.errstate(divide="ignore"):
            result: np.ndarray = self.log + np.log(abs(diagonal)).reshape(self.shape)
        return result

    def orthonormalise(self) -> None:
        """Make each set orthonormal and forget all growth: the end of a warm-up."""
        self.warming_up = False
        basis = torch.linalg.qr(matrices(self.v, self.shape))[0]
        matrices(self.v, self.shape).copy_(basis)
        self.log, self.defect = np.zeros_like(self.log), 0.0
        self.none_lost = True
        self.choice.restart()
        self._prepare()

    def product(self) -> Graded:
        """The triangular factor of the product of all Jacobians so far, which has the same singular values."""
        if self.graded is None:
            raise TypeError("expected tangents that keep their triangles, got some made without graded=True")
        triangle = self._factorise.triangle(self.v)
        return self.graded.times(triangle.double().reshape(*self.shape, self.k))


def random_directions(size: int, k: int, like: Tensor) -> Tensor:
    """k orthonormal columns `(size, k)`, the same each time: axes of the state might miss a subspace.

    The first columns do not depend on k.
    """
    generator = torch.Generator().manual_seed(0)
    # One by one, as the last numbers of a single draw depend on how many there are.
    start = [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(k)]
    columns: Tensor = torch.linalg.qr(torch.stack(start, dim=1))[0].to(like)
    return columns
