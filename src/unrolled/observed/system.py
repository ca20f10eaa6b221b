"""The systems that have a spectrum: one layer and direction each, or a whole stack of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from unrolled.results.codec import Count, Size, require
from unrolled.rollout.fused import DIRECTIONS

STACK = "stack"


@dataclass(frozen=True)
class System:
    """A recurrence with a state of `size` numbers per sample: `h`, or `(h, c)` for an LSTM.

    `layer` is None for the stack of all layers of a module, taken as one system.
    """

    module: str
    call: Count
    layer: Count | None
    direction: str
    size: Size

    @property
    def name(self) -> str:
        """Which part of its module: `l0`, `l0.reverse`, or `stack`."""
        if self.layer is None:
            return STACK
        return f"l{self.layer}" if self.direction == "forward" else f"l{self.layer}.{self.direction}"

    @property
    def label(self) -> str:
        """A short name: `rnn.l0`, `encoder.l1.reverse`, `cell.call3.stack`."""
        module = f"{self.module}.call{self.call}" if self.call > 0 else self.module
        return f"{module}.{self.name}"

    def columns(self) -> dict[str, Any]:
        """The first columns of the tables."""
        return {"module": self.module, "call": self.call, "system": self.name}

    def table(self, axes: dict[str, Any], columns: dict[str, np.ndarray]) -> pd.DataFrame:
        """One row per entry of the arrays in `columns`; `axes` names each of their axes and labels its places."""
        places = np.indices([len(labels) for labels in axes.values()])
        labels = {name: np.asarray(axes[name])[place.ravel()] for name, place in zip(axes, places, strict=True)}
        numbers = {name: array.ravel() for name, array in columns.items()}
        return pd.DataFrame({**self.columns(), **labels, **numbers})

    def check(self) -> None:
        """Raise `ValueError` for an unknown direction."""
        require(self.direction in DIRECTIONS, f"a direction, got {self.direction!r}")

    @property
    def call_of(self) -> tuple[str, int]:
        """The call of a module that it is a part of."""
        return self.module, self.call
