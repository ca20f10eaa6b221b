"""A clip beside a training that does without it, or has its own: what it would have done, pass by pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import pandas as pd
from torch import Tensor

from unrolled.errors import InvalidValueError
from unrolled.gradients.clipping.clip import Clip
from unrolled.gradients.clipping.report import ClipReport


class ClipBeside:
    """A clip that looks at gradients and leaves them as they are; it remembers apart from the one it was made from.

    `reports` holds what it would have done, by the number of the backward pass. Raises `InvalidValueError` for `none`
    and for a clip that works within the backward pass, as `step` does.
    """

    def __init__(self, clip: Clip) -> None:
        if not clip.works_on_gradients:
            raise InvalidValueError(
                f"clip: expected one that works on finished gradients, got {clip}; try norm:1, or see "
                "unrolled.gradient_flow for step"
            )
        self.clip = replace(clip, history=list(clip.history))
        self.reports: dict[int, ClipReport] = {}

    @property
    def remembers(self) -> bool:
        """Whether it has to see every pass, as its bound comes from the norms so far."""
        return self.clip.rule.finds_bound

    @property
    def changed(self) -> int:
        """The passes whose gradient it would have changed."""
        return sum(report.entries > 0 for report in self.reports.values())

    def look(self, backward: int, parameters: Mapping[str, Tensor]) -> None:
        """Note what it would do to the `.grad` of the parameters.

        Raises `NonFiniteError` where one holds NaN or inf, `InvalidTypeError` where one cannot be clipped.
        """
        self.reports[backward] = self.clip.would_clip(parameters.items())

    def frame(self) -> pd.DataFrame:
        """A row per backward pass: `backward`, the `clip`, and the columns of `ClipReport`."""
        return pd.DataFrame(
            [{"backward": n, "clip": str(self.clip), **asdict(report)} for n, report in self.reports.items()]
        )
