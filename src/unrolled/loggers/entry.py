"""What a logger is given of one recorded step: finite scalars, and an image of the norms over lag."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.gradients.flow import GradientFlow
from unrolled.loggers.picture import over_lag

IMAGE = "flow/over_lag"  # its name beside the scalars


@dataclass(frozen=True, eq=False)
class Entry:
    """One recorded step, ready to be logged; its loss was multiplied by `loss_scale` before the backward pass."""

    flow: GradientFlow
    loss_scale: float = 1.0

    def scalars(self) -> dict[str, float]:
        """The flow's scalars that are finite, norms without the loss scale."""
        values = {
            name: value - math.log10(self.loss_scale) if name.rpartition("/")[2].startswith("log10_") else value
            for name, value in self.flow.scalars().items()
        }
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def image(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The norms over lag as pixels `(height, width, 3)`."""
        return over_lag(self.flow)
