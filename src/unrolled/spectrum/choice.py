"""The choice of factorisation: the cheapest one that the tangents allow."""

from __future__ import annotations

from unrolled.spectrum.factorise import LU, QR, Cholesky, Factorisation
from unrolled.spectrum.interval import ACCEPTED_DEFECT


class Choice:
    """`QR` where it is asked for; else `Cholesky`, and `LU` once a single step lost too much for that."""

    def __init__(self, qr: bool) -> None:
        self.first: type[Factorisation] = QR if qr else Cholesky
        self.kind: type[Factorisation] = self.first

    def failed(self, defect: float) -> bool:
        """Whether a basis is too far from an orthonormal one; only `Cholesky` can fail."""
        return self.kind is Cholesky and not defect <= ACCEPTED_DEFECT

    def gives_up(self, failed: bool, loss: float, limit: float) -> bool:
        """Go over to `LU` where a block of one step, which cannot be shorter, lost too much for `Cholesky`."""
        if self.kind is not Cholesky or (not failed and loss <= limit):
            return False
        self.kind = LU
        return True

    def restart(self) -> None:
        """Go back to the first choice, for tangents that have just been made orthonormal."""
        self.kind = self.first
