"""Plots of a forecast study, a panel for each variant: prediction, loss, gradient norm and reach."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unrolled.render.style import COLOURS, DASHES, MARKERS, house_style, save

if TYPE_CHECKING:
    import pandas as pd

BINS = 150  # of iterations, across a panel
HORIZON = -3  # decades: 1/1000 of the norm at lag 0
DEEPEST = -9.0  # decades below which a profile leaves the panel
SKY = 1e5  # times the median loss or norm, above which nothing is drawn
TRUTH, CLOSED, WARMED = "#000000", COLOURS[5], COLOURS[0]


def draw_forecast(
    history: pd.DataFrame, loops: pd.DataFrame, reach: pd.DataFrame, folder: Path, foot: str
) -> list[Path]:
    """All plots into `folder`, as PNG and SVG; `foot` says what was trained where. Gives the paths."""
    paths = save(loss_figure(history, foot), folder, "loss")
    if np.isfinite(history["log10_norm"]).any():
        paths += save(norm_figure(history, foot), folder, "norm")
    if len(loops):
        paths += save(prediction_figure(loops, foot), folder, "prediction")
    if len(reach):
        paths += save(reach_figure(reach, foot), folder, "reach")
    return paths


def _panels(
    frame: pd.DataFrame, foot: str, draw: Callable[[Axes, pd.DataFrame], None], y: str, x: str
) -> Figure:
    """A panel for each variant, all with one pair of axes, and one legend."""
    parts = list(frame.groupby(["network", "clip"], sort=False))
    columns = min(len(parts), 3 if len(parts) != 4 else 2)
    rows = math.ceil(len(parts) / columns)
    with house_style():
        size = (max(3.1 * columns, 5.2) + 0.4, 2.5 * rows + 1.0)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for panel, ((network, clip), part) in zip(panels.flat, parts, strict=False):
            draw(panel, part)
            panel.set_title(f"{network}, {'no clip' if clip == 'none' else clip}", loc="left", fontsize=9)
        for k, panel in enumerate(panels.flat):
            if k >= len(parts):
                panel.set_axis_off()
            elif k + columns >= len(parts):
                panel.set_xlabel(x)
                panel.tick_params(labelbottom=True)
        for panel in panels[:, 0]:
            panel.set_ylabel(y)
        handles = {
            label: handle
            for panel in panels.flat
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        ncols = 3 if columns > 2 else 2 if len(handles) > 3 else 3
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper center", ncols=ncols, fontsize=8
        )
        figure.supxlabel(foot, fontsize=7, color="#555555")
    return figure


def loss_figure(history: pd.DataFrame, foot: str) -> Figure:
    """Loss over iterations, log scale: the median of each stretch, and the band from least to largest."""

    def draw(panel: Axes, part: pd.DataFrame) -> None:
        """The loss of one variant."""
        panel.set_yscale("log")
        _band(panel, part["iteration"], part["loss"], COLOURS[0], "loss")

    return _without_the_sky(_panels(history, foot, draw, "loss", "iteration"), history["loss"])


def norm_figure(history: pd.DataFrame, foot: str) -> Figure:
    """Global gradient norm over iterations, log scale, before clipping and after, with the bound."""
    history = history.assign(norm=10 ** history["log10_norm"], clipped=10 ** history["log10_clipped"])

    def draw(panel: Axes, part: pd.DataFrame) -> None:
        """The norms of one variant, those after clipping where it fired."""
        panel.set_yscale("log")
        _band(panel, part["iteration"], part["norm"], COLOURS[0], "norm before clipping")
        if (part["touched"] > 0).any():
            _, middle, x, _ = _binned(part["iteration"], part["clipped"])
            panel.plot(x, middle, color=COLOURS[5], linewidth=1.3, linestyle=DASHES[1], label="after, median")
        if part["bounds_norm"].iloc[0]:  # not an entry, or one parameter
            _, bound, x, _ = _binned(part["iteration"], part["bound"])
            panel.plot(x, bound, color="#000000", linewidth=1.1, linestyle=DASHES[3], label="bound")

    return _without_the_sky(_panels(history, foot, draw, "global gradient norm", "iteration"), history["norm"])


def _without_the_sky(figure: Figure, values: pd.Series) -> Figure:
    """Let what diverges leave the panels at the top, so that the others are more than a line at the bottom."""
    sky = SKY * values[np.isfinite(values)].median()
    panel = figure.axes[0]  # the others share its axes
    if panel.get_ylim()[1] > sky > panel.get_ylim()[0]:
        panel.set_ylim(top=sky)
    return figure


def _band(panel: Axes, iteration: pd.Series, values: pd.Series, colour: str, label: str) -> None:
    low, middle, x, high = _binned(iteration, values)
    panel.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0, label=f"{label}, least to largest")
    panel.plot(x, middle, color=colour, linewidth=1.2, label=f"{label}, median")


def _binned(iteration: pd.Series, values: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Least, median, iteration and largest of each stretch of iterations, over all seeds, finite ones only."""
    finite = np.isfinite(values.to_numpy()) & (values.to_numpy() > 0)
    number, value = iteration.to_numpy()[finite], values.to_numpy()[finite]
    width = max(1, math.ceil(iteration.max() / BINS))
    bins = (number - 1) // width
    found = [
        (value[bins == k].min(), np.median(value[bins == k]), number[bins == k].mean(), value[bins == k].max())
        for k in np.unique(bins)
    ]
    low, middle, x, high = np.array(found).T if found else np.empty((4, 0))
    return low, middle, x, high


def prediction_figure(loops: pd.DataFrame, foot: str) -> Figure:
    """Of the first seed: the truth, and the closed loop after one true point and after a warm-up.

    Both loops begin with the state that training left.
    """
    first = loops[loops["seed"] == loops["seed"].iloc[0]]
    low, high = first["truth"].min(), first["truth"].max()
    room = 0.5 * (high - low)

    def near(values: pd.Series) -> pd.Series:
        """Without what is far off, which would make the truth a flat line."""
        return values.where(values.between(low - 20 * room, high + 20 * room))

    def draw(panel: Axes, part: pd.DataFrame) -> None:
        """The truth and both loops of one variant, with a rule where the warm-up ends."""
        warm_up = part["warm_up"].iloc[0]
        line: dict[str, Any] = {"linewidth": 1.1, "markersize": 3.2}
        panel.plot(part["step"], part["truth"], color=TRUTH, marker=MARKERS[0], label="truth", **line)
        panel.plot(
            part["step"], near(part["prediction"]), color=CLOSED, marker=MARKERS[1], linestyle=DASHES[1],
            label="closed loop after one true point", **line,
        )  # fmt: skip
        panel.plot(
            part["step"], near(part["warmed_up"]), color=WARMED, marker=MARKERS[2], linestyle=DASHES[2],
            label=f"closed loop after {warm_up} true points", **line,
        )  # fmt: skip
        panel.axvline(warm_up, color="#888888", linewidth=0.8)
        panel.set_ylim(low - room, high + room)
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    return _panels(first, foot, draw, "value", "point")


def reach_figure(reach: pd.DataFrame, foot: str) -> Figure:
    """log10 of gradient norm over lag, relative to lag 0, as training goes on; last layer, first seed."""
    top = reach[(reach["layer"] == reach["layer"].max()) & (reach["path"] == "h")]
    first = top[top["seed"] == top["seed"].iloc[0]]
    marks = sorted(first["iteration"].unique())

    def draw(panel: Axes, part: pd.DataFrame) -> None:
        """A line for each mark of one variant."""
        for mark, rows in part.groupby("iteration"):
            k = marks.index(mark)
            rows = rows.sort_values("lag")
            norm = rows["log10_norm"].to_numpy()
            norm = (
                np.where(np.isfinite(norm), norm - norm[0], np.nan) if np.isfinite(norm[0]) else norm * np.nan
            )
            panel.plot(
                rows["lag"], norm, color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)],
                markevery=max(1, len(rows) // 8), markersize=4.5, linewidth=1.3,
                label="at the start" if mark == 0 else f"after {mark}",
            )  # fmt: skip
        panel.axhline(HORIZON, color="#555555", linewidth=0.8, label="horizon: 1/1000 of lag 0")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    y = "log10 of gradient norm\nat lag k / at lag 0"
    figure = _panels(first, foot, draw, y, "lag k (steps before the last)")
    shown = np.concatenate([np.asarray(line.get_ydata(), float) for p in figure.axes for line in p.get_lines()])
    low, high = np.nanmin(shown), np.nanmax(shown)
    figure.axes[0].set_ylim(max(DEEPEST, min(low, HORIZON)) - 0.5, high + 0.5)  # the panels share it
    return figure
