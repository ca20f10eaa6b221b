"""From the name of a way of clipping to its file. A new one is added by its file and one line here."""

from __future__ import annotations

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.gradients.clipping.agc import EachUnit
from unrolled.gradients.clipping.auto import Percentile
from unrolled.gradients.clipping.mode import Mode
from unrolled.gradients.clipping.none import Unclipped
from unrolled.gradients.clipping.norm import GlobalNorm
from unrolled.gradients.clipping.step import EachStep
from unrolled.gradients.clipping.tensor import EachTensor
from unrolled.gradients.clipping.value import EachEntry
from unrolled.gradients.clipping.zclip import ZScore

MODES: dict[str, type[Mode]] = {
    "none": Unclipped,
    "norm": GlobalNorm,
    "value": EachEntry,
    "tensor": EachTensor,
    "step": EachStep,
    "auto": Percentile,
    "zclip": ZScore,
    "agc": EachUnit,
}


def make(name: object, bound: object) -> Mode:
    """The mode of this name with this bound. Raises `InvalidTypeError` or `InvalidValueError` for what is neither."""
    if not isinstance(name, str):
        raise InvalidTypeError(f"clip: expected a name such as norm, got {type(name).__name__}; try norm:1")
    if name not in MODES:
        raise InvalidValueError(f"clip: expected one of {', '.join(MODES)}, got {name!r}; try norm:1")
    return MODES[name](name, bound)
