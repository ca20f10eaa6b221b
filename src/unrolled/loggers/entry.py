"""What a logger is given of one recorded step: finite scalars, and an image of the norms over lag."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.gradients.clipping import ClipReport
from unrolled.gradients.flow import GradientFlow
from unrolled.loggers.picture import over_lag

IMAGE = "flow/over_lag"  # its name beside the scalars


@dataclass(frozen=True, eq=False)
class Entry:
    """One recorded step, ready to be logged; its loss was multiplied by `loss_scale` before the backward pass.

    `clip` is what a clip that was watched beside it would have done.
    """

    flow: GradientFlow
    loss_scale: float = 1.0
    clip: ClipReport | None = None

    def scalars(self) -> dict[str, float]:
        """The scalars of the flow and of the clip that are finite, norms without the loss scale."""
        found = self.flow.scalars()
        if self.clip is not None:
            found |= {f"clip/{name}": getattr(self.clip, name) for name in ("log10_after", "entries", "cosine")}
        values = {
            name: value - math.log10(self.loss_scale) if name.rpartition("/")[2].startswith("log10_") else value
            for name, value in found.items()
        }
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def image(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The norms over lag as pixels `(height, width, 3)`."""
        return over_lag(self.flow)
