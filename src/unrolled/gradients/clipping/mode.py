"""What every way of clipping says of itself."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.gradients.clipping.any_range import AnyRange, Changed
from unrolled.gradients.clipping.in_range import InRange, Outcome


class Mode(ABC):
    """One way of clipping, made with its bound, which it checks.

    `meaning`: what the bound is, for error messages. `works_on_gradients`: it changes finished gradients.
    `works_on_states`: it changes the cotangent of the state within the backward pass, and so the profile.
    `bounds_norm`: the bound in force is one on the global L2 norm. `finds_bound`: that is another number than the one
    it was made with, found from the norms so far.
    """

    meaning: ClassVar[str]
    works_on_gradients: ClassVar[bool] = True
    works_on_states: ClassVar[bool] = False
    bounds_norm: ClassVar[bool] = False
    finds_bound: ClassVar[bool] = False

    def __init__(self, name: str, bound: object) -> None:
        self.name = name
        self.bound = self.check(bound)

    def check(self, bound: object) -> float:
        """The bound as a number. Raises `InvalidTypeError` or `InvalidValueError` unless it is above 0 and finite."""
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise InvalidTypeError(
                f"clip: expected a number as the bound of {self.name}, got {bound!r}; give {self.meaning}, "
                f"as in {self.name}:1"
            )
        if not (math.isfinite(bound) and bound > 0):
            raise InvalidValueError(
                f"clip: expected a finite bound above 0 for {self.name}, {self.meaning}, got {float(bound)}; "
                f"try {self.name}:1"
            )
        return float(bound)

    def bound_now(self, log2_norm: float, history: list[float]) -> float:
        """The bound in force for gradients of this global norm; inf where there is none.

        `history` is what the mode keeps from one call to the next; it may change it.
        """
        return self.bound

    @abstractmethod
    def clip(self, gradients: AnyRange, bound: float) -> Changed:
        """Gradients with exponents, clipped."""

    @abstractmethod
    def clip_(self, gradients: InRange, bound: float) -> Outcome:
        """Clip in place what float32 holds with room to spare. The same result as `clip`, at less cost."""

    @abstractmethod
    def clip_as_torch_(self, parameters: Sequence[nn.Parameter], norms: Sequence[float]) -> bool:
        """Do to the `.grad` of parameters what `torch.nn.utils` does; False where it has no such clipping.

        `norms`: the global norms so far, this one included.
        """
