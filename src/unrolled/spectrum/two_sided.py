"""The exponents of one system, followed from one end of the spectrum or from both.

A whole spectrum is as wide as its largest and smallest exponents are apart, and the wider, the sooner the
vectors of a frame collapse onto the first. But with `Q_t R_t = J_t Q_{t-1}` also `J_t⁻ᵀ Q_{t-1} = Q_t R_t⁻ᵀ`,
which is lower triangular: the last columns of Q, from the last one on, are pushed by `J_t⁻ᵀ` alone, and
grow by `1 / R_ii`. So where a step is cheap to invert, two frames give the same R_ii as a single one, each
with a part of its width. The smallest exponents lie furthest apart, so the second frame is a small one.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor

from unrolled.cells.push_forward import Push, Steps
from unrolled.spectrum.frames import Frames
from unrolled.spectrum.system import System

# Numbers in a state from which on a second frame costs less than it saves.
WORTH_TWO = 48


class NotInvertibleError(Exception):
    """A step turned out to have no inverse; the spectrum has to be followed from its upper end alone."""


class Ends:
    """`start` `(n, k)` orthonormal columns, of which a `lower` share, the last ones, goes by inverse steps.

    That of a whole spectrum only, so that a `multiple` is left; see `Frames` for that and for the rest.
    """

    def __init__(
        self,
        system: System,
        start: Tensor,
        batch: int,
        qr_every: int | str,
        lower: float,
        warming_up: bool,
        multiple: int = 1,
    ) -> None:
        size, k = start.shape
        self.system, self.size = system, size
        worth = qr_every == "auto" and k == size and size >= WORTH_TWO
        last = k - multiple * round((1 - lower) * k / multiple) if worth and lower else 0
        make = partial(Frames, system, batch=batch, qr_every=qr_every, warming_up=warming_up, multiple=multiple)
        self.upper = make(start[:, : k - last])
        self.lower = make(start[:, k - last :].flip(1)) if last else None
        for frames in self.frames:
            frames.begin()

    @property
    def frames(self) -> list[Frames]:
        """One or two."""
        return [self.upper] if self.lower is None else [self.upper, self.lower]

    def pushes(self, push: Steps) -> list[Push]:
        """Steps for each frame. Raises `NotInvertibleError`."""
        if self.lower is None:
            return [push]
        inverse = push.inverse()
        if inverse is None:
            raise NotInvertibleError
        return [push, inverse]

    def read(self) -> np.ndarray:
        """`(B, k)`: logarithms of what the orthogonal parts have grown by so far."""
        grown = self.upper.read()[:, 0]
        if self.lower is not None:
            grown = np.concatenate((grown, -self.lower.read()[:, 0, ::-1]), axis=-1)
        return grown

    def orthogonalise(self) -> None:
        """Make the frames orthonormal and forget all growth."""
        for frames in self.frames:
            frames.orthogonalise()

    @property
    def every(self) -> float:
        """Steps between two factorisations, on average over vectors."""
        steps = sum(frames.steps * frames.k for frames in self.frames)
        return steps / sum(frames.factorisations * frames.k for frames in self.frames)
