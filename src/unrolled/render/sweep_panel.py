"""One panel of the picture of a sweep: a map of colours over two axes of numbers, or lines over one axis."""

from __future__ import annotations

import itertools
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, TwoSlopeNorm

from unrolled.render.style import line_look
from unrolled.sweep.axis import Axis, shown

if TYPE_CHECKING:
    from unrolled.sweep.record import Sweep

MOST_LINES = 8
LETTERS = 32  # of a line of a label
FEW = 6  # values of an axis that are its ticks
LOG_FROM = 20.0  # the factor between values from which their axis is logarithmic
# Below 0 dark blue, above it orange, which is lighter in grey, and white where they meet.
DIVERGING = LinearSegmentedColormap.from_list(
    "below and above", ["#08306b", "#2f7ebc", "#c6dbef", "#ffffff", "#ffe2b8", "#fbbf6b", "#e8891a"]
)
BAD = "#bdbdbd"  # where nothing was measured
ZERO: dict[str, Any] = {"color": "black", "linewidth": 1.4}
THEORY: dict[str, Any] = {"color": "black", "linewidth": 1.6, "linestyle": (0, (4, 2))}


@dataclass(frozen=True)
class Layout:
    """Which axis goes where: `y` only in a map, `lines` only without; `panels` are all others."""

    x: Axis
    y: Axis | None
    lines: Axis | None
    panels: tuple[Axis, ...]

    def places(self) -> list[dict[str, Any]]:
        """The values of the axes of the panels, one panel each."""
        names = [axis.name for axis in self.panels]
        return [
            dict(zip(names, v, strict=True)) for v in itertools.product(*(axis.values for axis in self.panels))
        ]


def layout_of(sweep: Sweep) -> Layout:
    """The first two axes of numbers make a map; with one of them, or none, words are told apart by lines."""
    numeric = [axis for axis in sweep.axes if axis.is_numeric]
    if len(numeric) >= 2:
        x, y = numeric[:2]
        return Layout(x, y, None, tuple(axis for axis in sweep.axes if axis not in (x, y)))
    x = numeric[0] if numeric else sweep.axes[0]
    others = [axis for axis in sweep.axes if axis is not x]
    lines = next((axis for axis in others if len(axis.values) <= MOST_LINES), None)
    return Layout(x, None, lines, tuple(axis for axis in others if axis is not lines))


def folded(label: str) -> str:
    """In lines that fit beside a panel, however low it is."""
    return textwrap.fill(label, LETTERS)


def norm_of(sweep: Sweep, means: pd.DataFrame) -> Normalize:
    """The scale of colours, around 0 where that parts two kinds; each side has all of its colour."""
    values = means[sweep.shown].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if sweep.column.centred:
        side = 0.02 * max(abs(low), abs(high), 1e-12)
        return TwoSlopeNorm(0.0, min(low, -side), max(high, side))
    return Normalize(low, high if high > low else low + 1.0)


def draw_panel(
    sweep: Sweep, means: pd.DataFrame, layout: Layout, place: dict[str, Any], axes: Axes, norm: Normalize
) -> Any:
    """One panel; gives the map of its colours, where it has one."""
    part = _at(means, place)
    if layout.y is None:
        _lines(sweep, part, layout, place, axes)
        return None
    return _map(sweep, part, layout.x, layout.y, place, axes, norm)


def _at(frame: pd.DataFrame, place: dict[str, Any]) -> pd.DataFrame:
    for name, value in place.items():
        if name in frame:
            frame = frame[frame[name].isna() if value is None else frame[name] == value]
    return frame


def _map(
    sweep: Sweep, part: pd.DataFrame, x: Axis, y: Axis, place: dict[str, Any], axes: Axes, norm: Normalize
) -> Any:
    xs, ys = _sorted(x), _sorted(y)
    grid = part.set_index([y.name, x.name])[sweep.shown].reindex(pd.MultiIndex.from_product([ys, xs]))
    values = grid.to_numpy(dtype=float).reshape(len(ys), len(xs))
    colours: Colormap = (DIVERGING if sweep.column.centred else _sequential()).with_extremes(bad=BAD)
    drawn = axes.pcolormesh(
        xs, ys, np.ma.masked_invalid(values), shading="nearest", cmap=colours, norm=norm, rasterized=True
    )
    finite = values[np.isfinite(values)]
    if sweep.column.centred and len(finite) and finite.min() < 0 < finite.max():
        axes.contour(
            xs,
            ys,
            np.ma.masked_invalid(values),
            levels=[0.0],
            colors=[ZERO["color"]],
            linewidths=ZERO["linewidth"],
        )
    theory = _at(sweep.theory_frame(), place)
    if len(theory):
        limits = axes.get_xlim(), axes.get_ylim()
        theory = theory.sort_values(y.name if sweep.theory and sweep.theory.over == x.name else x.name)
        axes.plot(theory[x.name], theory[y.name], **THEORY)
        axes.set(xlim=limits[0], ylim=limits[1])
    axes.grid(False)
    _scale(axes, x, y)
    axes.set_xlabel(x.name)
    axes.set_ylabel(y.name)
    return drawn


def _sorted(axis: Axis) -> list[float]:
    return sorted(float(value) for value in axis.values if isinstance(value, float | int))


def _sequential() -> Colormap:
    from matplotlib import colormaps

    return colormaps["cividis"]


def _lines(sweep: Sweep, part: pd.DataFrame, layout: Layout, place: dict[str, Any], axes: Axes) -> None:
    """Mean and standard deviation over seeds; words stand one beside the other."""
    x = layout.x
    for k, value in enumerate(layout.lines.values if layout.lines else (None,)):
        rows = _at(part, {layout.lines.name: value}) if layout.lines else part
        rows = rows.sort_values(x.name) if x.is_numeric else rows
        places = rows[x.name] if x.is_numeric else [x.values.index(each) for each in _words(rows[x.name])]
        mean = rows[sweep.shown].to_numpy(dtype=float)
        mean = np.where(np.isfinite(mean), mean, np.nan)
        spread = _spread(sweep, rows)
        look = line_look(k)
        style = {"linewidth": 1.3} if x.is_numeric else {"linestyle": "none"}
        axes.errorbar(places, mean, yerr=spread, **look, markersize=4.5, elinewidth=0.9, capsize=2, **style)
    if sweep.column.centred:
        axes.axhline(0, color="#333333", linewidth=0.9, zorder=1)
    for at in _at(sweep.theory_frame(), place).get(x.name, []):
        axes.axvline(at, **THEORY, zorder=1)
    _scale(axes, x, None)
    if not x.is_numeric:
        axes.set_xticks(range(len(x.values)), [shown(value) for value in x.values])
        axes.set_xlim(-0.5, len(x.values) - 0.5)
    axes.set_xlabel(x.name)
    axes.set_ylabel(folded(sweep.column.label))


def _words(values: Any) -> list[Any]:
    return [None if value != value else value for value in values]


def _spread(sweep: Sweep, rows: pd.DataFrame) -> Any:
    name = f"{sweep.shown}_spread"
    return rows[name].fillna(0.0).to_numpy() if name in rows else None


def _scale(axes: Axes, x: Axis, y: Axis | None) -> None:
    for axis, change in ((x, axes.set_xscale), (y, axes.set_yscale)):
        if axis is not None and axis.is_numeric:
            values = [float(value) for value in axis.values if isinstance(value, float | int)]
            if min(values) > 0 and max(values) / min(values) > LOG_FROM:
                change("log")
            if len(values) <= FEW:
                (axes.set_xticks if axis is x else axes.set_yticks)(
                    values, [f"{value:g}" for value in values], minor=False
                )
