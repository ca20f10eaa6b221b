"""The gradient's norm over the steps of one layer, direction and path of one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from unrolled.gradients.verdict import Verdict, judge
from unrolled.results.codec import UNSAVED, Count, require
from unrolled.results.shown import Plotted
from unrolled.rollout.layout import reverse_time
from unrolled.rollout.scaled import LOG10_2, check_logs, log2_rms

STATISTICS = ("log2_norm", "log2_min", "log2_median", "log2_max")
ROUNDING = 1e-12  # of a mean of squares in float64, in powers of two and relative to them
MOST_SAMPLES = 2**62


@dataclass(frozen=True, eq=False, repr=False)
class Profile(Plotted):
    """Norms of the total gradient by lag: entry k of each array is k steps before the last.

    Lags count along the direction of travel: lag 0 is the last step that the direction runs, which for
    `reverse` is step 0. Where sequences differ in length, lag 0 is each one's own last step, and the step in
    the frame is that of the longest. Norms are L2 over hidden units, float64, as log2; `-inf` stands for
    exactly 0. `log2_norm` `(T,)` is their root mean square over samples, `log2_min`, `log2_median` and
    `log2_max` are what their names say, over samples too. `samples` `(T, B)` holds the norm of each sample,
    NaN where a sequence has no such lag; a loaded profile has None.
    """

    VIEW = "profile"

    module: str
    call: Count
    layer: Count
    direction: Literal["forward", "reverse"]
    path: str
    log2_norm: np.ndarray
    log2_min: np.ndarray
    log2_median: np.ndarray
    log2_max: np.ndarray
    samples: np.ndarray | None = field(default=None, metadata=UNSAVED)

    @classmethod
    def of(cls, labels: dict[str, Any], log2_norms: Tensor, lengths: Tensor | None = None) -> Profile:
        """From norms `(T, B)` in the order in which the direction runs."""
        by_lag = reverse_time(log2_norms, lengths).cpu().numpy()
        if by_lag.shape[1] == 1:  # one sample is its own minimum, median and maximum
            only = by_lag[:, 0]
            return cls(**labels, log2_norm=only, log2_min=only, log2_median=only, log2_max=only, samples=by_lag)
        ordered = np.sort(by_lag, axis=1)  # NaN goes last
        count = (~np.isnan(by_lag)).sum(1)
        rows = np.arange(len(ordered))
        lower, upper = ordered[rows, (count - 1) // 2], ordered[rows, count // 2]
        median = np.where(lower == upper, lower, 0.5 * (lower + upper))  # -inf with -inf stays -inf
        return cls(
            **labels,
            log2_norm=log2_rms(by_lag),
            log2_min=ordered[:, 0],
            log2_median=median,
            log2_max=ordered[rows, count - 1],
            samples=by_lag,
        )

    @classmethod
    def joined(cls, profiles: Sequence[Profile]) -> Profile:
        """One profile made of those of consecutive calls, for a model that loops over the steps itself."""
        first = profiles[0]
        order = profiles[::-1]
        parts = {name: np.concatenate([getattr(part, name) for part in order]) for name in STATISTICS}
        return cls(first.module, first.call, first.layer, first.direction, first.path, **parts)

    @property
    def steps(self) -> int:
        """The number of steps, T."""
        return len(self.log2_norm)

    @property
    def log10_norm(self) -> np.ndarray:
        """log10 of the root mean square norm, by lag."""
        return self.log2_norm * LOG10_2

    @property
    def label(self) -> str:
        """A short name: `rnn.l0`, `encoder.l1.reverse.c`, `cell.call3.l0`."""
        parts = [self.module]
        parts += [f"call{self.call}"] * (self.call > 0)
        parts += [f"l{self.layer}"]
        parts += [self.direction] * (self.direction != "forward")
        parts += [self.path] * (self.path != "h")
        return ".".join(parts)

    @cached_property
    def verdict(self) -> Verdict:
        """Decades per step, half-life, horizon and the word for them."""
        return judge(self.log10_norm)

    def relative(self, lag: int) -> float:
        """log10 of the norm at `lag` relative to lag 0; NaN beyond the profile or where that is 0."""
        if not 0 <= lag < self.steps or not np.isfinite(self.log2_norm[0]):
            return float("nan")
        return float((self.log2_norm[lag] - self.log2_norm[0]) * LOG10_2)

    def frame(self) -> pd.DataFrame:
        """One row per step; the columns are those of `GradientFlow.frame`."""
        lags = np.arange(self.steps)
        frame = pd.DataFrame(
            {
                **{name: getattr(self, name) for name in ("module", "call", "layer", "direction", "path")},
                "step": lags if self.direction == "reverse" else self.steps - 1 - lags,
                "lag": lags,
                **{name.replace("log2", "log10"): getattr(self, name) * LOG10_2 for name in STATISTICS},
            }
        )
        return frame.sort_values("step", ignore_index=True)

    def check(self) -> None:
        """Raise `ValueError` for what are no statistics of norms."""
        require(self.path in ("h", "c") or self.path.isdecimal(), f"a part of the state, got {self.path!r}")
        for name in STATISTICS:
            check_logs(getattr(self, name), 1, name)
            require(len(getattr(self, name)) == self.steps, f"{self.steps} steps, as many as in log2_norm")
        rms, low, middle, high = (getattr(self, name) for name in STATISTICS)
        slack = ROUNDING * (1 + np.abs(np.where(np.isfinite(high), high, 0)))
        require(((low <= middle) & (middle <= high)).all(), "a median between the least and the largest norm")
        require(
            ((low <= rms + slack) & (rms <= high + slack)).all(), "a mean between the least and the largest"
        )
        require((middle <= rms + 0.5 + slack).all(), "half of the samples not to be above the mean of all")
        self.check_batch(MOST_SAMPLES)

    def check_batch(self, samples: int) -> None:
        """Raise `ValueError` unless these can be the statistics of so many samples, or fewer."""
        slack = ROUNDING * (1 + np.abs(np.where(np.isfinite(self.log2_max), self.log2_max, 0)))
        most = self.log2_norm + 0.5 * np.log2(samples) + slack
        require((self.log2_max <= most).all(), "a largest norm that the mean has room for")
        require(samples > 1 or (self.log2_min >= self.log2_max - slack).all(), "one norm of one sample")
