"""What the plots of a benchmark run have in common: how contenders look, and ticks on log axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from unrolled.render.style import COLOURS, DASHES, MARKERS

if TYPE_CHECKING:
    import pandas as pd

REFERENCE: dict[str, Any] = {"color": "black", "marker": "x", "linestyle": "-"}
NOTHING = "nothing can be told"
HOLLOW: dict[str, Any] = {"markerfacecolor": "white"}  # where nothing can be told
# Digits at which a log axis has ticks, from many to few, and the largest factor that each is for.
_DIGITS = (
    (2.5, (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)),
    (7, (1, 1.5, 2, 3, 5, 7)),
    (30, (1, 2, 3, 5, 7)),
    (200, (1, 2, 5)),
    (1e4, (1, 3)),
    (math.inf, (1,)),
)
_MOST_DECADES = 8


def contenders(frame: pd.DataFrame) -> list[str]:
    """Their names, in order."""
    references = set(frame["reference"])
    return [name for name in frame["implementation"].unique() if name not in references]


def look(k: int) -> dict[str, Any]:
    """Of contender `k`: colour, marker and dashes; 36 are told apart."""
    again = k // len(COLOURS)
    return {
        "color": COLOURS[k % len(COLOURS)],
        "marker": MARKERS[(k + again) % len(MARKERS)],
        "linestyle": DASHES[(k + again + 1) % len(DASHES)],
    }


def explain_hollow(panel: Axes) -> None:
    """An entry of the legend for markers that are hollow."""
    panel.plot([], [], "o", color="#777777", markersize=4, label=NOTHING, **HOLLOW)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high` for a log axis, close enough to read one between them."""
    digits = next(of for factor, of in _DIGITS if high / low <= factor)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, (last - first) // _MOST_DECADES)
    powers = range(first, last + 1, step)
    return [value for power in powers for digit in digits if low <= (value := digit * 10.0**power) <= high]


def log_axis(axis: Axis, values: Sequence[float], unit: str = "") -> None:
    """Ticks at `values`, and nowhere else."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
    axis.set_minor_locator(NullLocator())
