"""The picture of a sweep: a line over one axis, a map over two, panels for those that are left."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from unrolled.render.style import NARROWEST, finish, house_style, line_look, save, title_panel
from unrolled.render.sweep_panel import BAD, THEORY, ZERO, Layout, draw_panel, folded, layout_of, norm_of
from unrolled.render.sweep_words import answer
from unrolled.sweep.axis import shown

if TYPE_CHECKING:
    from unrolled.sweep.record import Sweep

MOST_PANELS, COLUMNS = 12, 3


def draw_sweep(sweep: Sweep, folder: Path) -> list[Path]:
    """`sweep.png` and `sweep.svg`; nothing where there is no number."""
    means = sweep.mean_frame()
    if not np.isfinite(means[sweep.shown].astype(float)).any():
        return []
    return save(sweep_figure(sweep, means), folder, "sweep")


def sweep_figure(sweep: Sweep, means: pd.DataFrame) -> Figure:
    """All panels, with one scale."""
    layout = layout_of(sweep)
    places = layout.places()
    kept = places[:MOST_PANELS]
    columns = min(COLUMNS, len(kept))
    rows = math.ceil(len(kept) / columns)
    single = len(kept) == 1
    with house_style():
        width, height = (6.6, 3.6) if single else (max(2.6 * columns + 0.9, NARROWEST), 2.5 * rows)
        figure = Figure(figsize=(width, height), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        norm = norm_of(sweep, means)
        drawn: list[Any] = []
        for k, place in enumerate(kept):
            panel = panels.flat[k]
            drawn.append(draw_panel(sweep, means, layout, place, panel, norm))
            if place:
                title_panel(panel, ", ".join(f"{name} {shown(value)}" for name, value in place.items()))
            if k + columns < len(kept):
                panel.set_xlabel("")
            if k % columns:
                panel.set_ylabel("")
        for panel in panels.flat[len(kept) :]:
            panel.set_axis_off()
        if layout.y is not None:
            _colour_bar(figure, drawn[0], list(panels.flat), sweep.column.label)
        return finish(
            figure,
            answer(sweep),
            _note(sweep, layout, len(places)),
            sweep.describe(),
            _handles(sweep, layout, means),
        )


def draw_one(sweep: Sweep, axes: Axes) -> None:
    """The first panel in an axes of somebody's own, with its bar of colours and its legend."""
    means, layout = sweep.mean_frame(), layout_of(sweep)
    place = layout.places()[0]
    drawn = draw_panel(sweep, means, layout, place, axes, norm_of(sweep, means))
    figure = axes.get_figure()
    if layout.y is not None and figure is not None:
        _colour_bar(figure, drawn, [axes], sweep.column.label)
    handles = _handles(sweep, layout, means)
    if handles:
        axes.legend(list(handles.values()), list(handles), fontsize=8)


def _colour_bar(figure: Any, drawn: Any, panels: list[Axes], label: str) -> None:
    """With ticks on both sides of 0, each of which has half of the bar."""
    norm = drawn.norm
    ticks = None
    if isinstance(norm, TwoSlopeNorm):
        low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
        below, above = (MaxNLocator(4).tick_values(*ends) for ends in ((low, 0.0), (0.0, high)))
        ticks = sorted({0.0, *(float(tick) for tick in (*below, *above) if low <= tick <= high)})
    bar = figure.colorbar(drawn, ax=panels, label=folded(label), pad=0.02, ticks=ticks)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _handles(sweep: Sweep, layout: Layout, means: pd.DataFrame) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    if layout.lines is not None:
        for k, value in enumerate(layout.lines.values):
            handles[f"{layout.lines.name} {shown(value)}"] = Line2D([], [], **line_look(k), markersize=4.5)
    values = means[sweep.shown].to_numpy(dtype=float)
    if layout.y is not None and sweep.column.centred and (values < 0).any() and (values > 0).any():
        handles["measured mean is 0"] = Line2D([], [], **ZERO)
    if sweep.theory is not None and len(sweep.theory_frame()):
        handles[f"0 by {sweep.theory.theory}"] = Line2D([], [], **THEORY)
    if layout.y is not None and not np.isfinite(values).all():
        handles["no finite number"] = Patch(color=BAD)
    return handles


def _note(sweep: Sweep, layout: Layout, panels: int) -> str:
    seeds = "one seed" if sweep.grid.seeds == 1 else f"{sweep.grid.seeds} seeds"
    drawn = "Colours" if layout.y is not None else "Points and bars"
    what = (
        f"{drawn}: mean over {seeds}."
        if layout.y is not None
        else f"{drawn}: mean and standard deviation, {seeds}."
    )
    if layout.y is not None and sweep.column.centred:
        what += " Below and above 0 they have scales of their own."
    if panels > MOST_PANELS:
        what += f" {MOST_PANELS} of {panels} panels; sweep_mean.csv has all."
    return what if sweep.is_whole else f"{what} {len(sweep.places)} of {sweep.grid.size} measurements so far."
