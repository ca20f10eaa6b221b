"""How many times as long as the reference, or how many times as fast: a panel per cell and phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unrolled.render.speed_axes import at, labels, places, row_axes
from unrolled.render.speed_reading import Quantity
from unrolled.render.speed_style import (
    HOLLOW,
    NARROWEST,
    contenders,
    explain_hollow,
    legend_and_foot,
    log_axis,
    look,
    ticks,
)
from unrolled.render.style import house_style
from unrolled.speed.statistics import TELLS_WITHIN

if TYPE_CHECKING:
    import pandas as pd

AROUND_ONE = (0.8, 1.25)  # shown in any case
NOTHING_TOLD = (0.25, 4.0)  # shown where no interval tells anything
MARGIN = 1.08


def ratio_figure(frame: pd.DataFrame, foot: str, shown: Quantity) -> Figure:
    """With 99 % intervals, on the noise floor; `frame` is what `speed_reading.read` gives, of timed results.

    An interval that tells nothing has a hollow marker, and an arrow where it goes on beyond the panel.
    """
    cells, phases = list(frame["cell"].unique()), list(frame["phase"].unique())
    axes = row_axes(frame)
    most = max(len(places(part, axes)) for _, part in frame.groupby(["cell", "phase"]))
    names, limits = contenders(frame), _limits(frame)
    width = max(NARROWEST / len(phases), 0.42 * most + 0.9, 0.16 * most * len(names))
    with house_style():
        figure = Figure(figsize=(width * len(phases) + 0.4, 2.3 * len(cells) + 0.9), layout="constrained")
        panels = figure.subplots(len(cells), len(phases), squeeze=False, sharey=True)
        for i, cell in enumerate(cells):
            for j, phase in enumerate(phases):
                rows = frame[(frame["cell"] == cell) & (frame["phase"] == phase)]
                if rows.empty:
                    panels[i, j].set_axis_off()
                    continue
                _panel(panels[i, j], rows, axes, names, limits)
                panels[i, j].set_title(f"{cell}, {phase}", loc="left", fontsize=9)
                if j == 0:
                    label = shown.label.format(rows["reference"].iloc[0])
                    panels[i, j].set_ylabel(f"{label}\n← {shown.below}          {shown.above} →")
        if not frame["told"][frame["implementation"] != frame["reference"]].all():
            explain_hollow(panels[-1, -1])
        panels[0, 0].set_yscale("log")
        panels[0, 0].set_ylim(*limits)
        log_axis(panels[0, 0].yaxis, ticks(*limits), "×")
        legend_and_foot(figure, foot)
    return figure


def _limits(frame: pd.DataFrame) -> tuple[float, float]:
    """Around all intervals that tell something, with room for those that do not."""
    told = frame[frame["told"] & (frame["implementation"] != frame["reference"])]
    floors = frame["noise_floor"][frame["noise_floor"] <= TELLS_WITHIN]
    if told.empty:
        return NOTHING_TOLD
    low = min(told["ratio_low"].min(), (1 / floors).min(), AROUND_ONE[0])
    high = max(told["ratio_high"].max(), floors.max(), AROUND_ONE[1])
    room = MARGIN if frame["told"].all() else MARGIN**3
    return low / room, high * room


def _panel(
    panel: Axes, rows: pd.DataFrame, axes: list[str], names: list[str], limits: tuple[float, float]
) -> None:
    found = places(rows, axes)
    floors = np.array([at(rows, axes, place)["noise_floor"].iloc[0] for place in found])
    floors = np.where(np.isnan(floors), 1.0, np.minimum(floors, max(limits[1], 1 / limits[0])))
    panel.bar(
        range(len(found)),
        floors - 1 / floors,
        bottom=1 / floors,
        width=0.96,
        color="#cccccc",
        label=f"noise floor ({rows['reference'].iloc[0]} against itself)",
    )
    panel.axhline(1, color="black", linewidth=1, label=rows["reference"].iloc[0])
    x_of = {place: x for x, place in enumerate(found)}
    for k, name in enumerate(names):
        some = rows[rows["implementation"] == name]
        x = np.array([x_of[tuple(place)] for place in some[axes].itertuples(index=False)], dtype=float)
        x += (k - (len(names) - 1) / 2) * 0.8 / len(names)
        _contender(panel, x, some, {**look(k), "linestyle": "none", "markersize": 4, "label": name}, limits)
    panel.set_xlim(-0.6, len(found) - 0.4)
    panel.set_xticks(range(len(found)), ["\n".join(labels(axes, place)) for place in found], fontsize=7)
    panel.grid(False, axis="x")


def _contender(
    panel: Axes, x: np.ndarray, rows: pd.DataFrame, style: dict[str, Any], limits: tuple[float, float]
) -> None:
    """Markers and intervals; hollow, and open beyond the panel, where nothing can be told."""
    panel.plot([], [], **style)
    ratio, low, high = (rows[column].to_numpy() for column in ("ratio", "ratio_low", "ratio_high"))
    told = rows["told"].to_numpy(dtype=bool)
    inside = (limits[0] < ratio) & (ratio < limits[1])
    ends = np.clip(np.stack([low, ratio, high]), *limits)
    for which, changes in ((told, {}), (~told & inside, HOLLOW), (~told & ~inside, {"marker": ""})):
        if which.any():
            errors = np.diff(ends[:, which], axis=0)
            look_of = style | changes | {"label": None}
            panel.errorbar(x[which], ends[1, which], yerr=errors, **look_of, elinewidth=1, capsize=2)
    for end, marker, beyond in ((limits[0], "v", low < limits[0]), (limits[1], "^", high > limits[1])):
        if beyond.any():
            arrow = style | {"marker": marker, "label": None, "clip_on": False}
            panel.plot(x[beyond], np.full(beyond.sum(), end), **arrow)
