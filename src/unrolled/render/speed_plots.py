"""Comparison plots of a benchmark run, from the tidy frame: ratio over workloads, time over batch size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from unrolled.render.speed_tables import ROW_AXES, row_axes
from unrolled.render.style import COLOURS, DASHES, MARKERS, house_style, save

if TYPE_CHECKING:
    import pandas as pd


def draw_speed(frame: pd.DataFrame, folder: Path, foot: str) -> list[Path]:
    """All plots of a run into `folder`, as PNG and SVG; `foot` names the machine. Gives the paths."""
    timed = frame[frame["rounds"] > 0]
    paths = []
    groups = timed.groupby(["device", "dtype"], sort=False)
    for (device, dtype), part in groups:
        suffix = device if len(groups) == 1 else f"{device}-{dtype}".replace(":", "")
        paths += save(ratio_figure(part, f"{device} {dtype} · {foot}"), folder, f"ratio-{suffix}")
        for phase, rows in part.groupby("phase", sort=False):
            paths += save(
                time_figure(rows, f"{phase} · {device} {dtype} · {foot}"), folder, f"time-{phase}-{suffix}"
            )
    return paths


def ratio_figure(frame: pd.DataFrame, foot: str) -> Figure:
    """Time over that of the reference, with 99 % intervals, on the noise floor: a panel per cell and phase."""
    cells, phases = list(frame["cell"].unique()), list(frame["phase"].unique())
    axes_names = row_axes(frame)
    columns = max(len(part) for _, part in _workloads(frame, axes_names))
    width = max(3.2, 0.42 * columns + 1)
    with house_style():
        figure = Figure(figsize=(width * len(phases), 2.3 * len(cells) + 0.9), layout="constrained")
        panels = figure.subplots(len(cells), len(phases), squeeze=False, sharey=True)
        for i, cell in enumerate(cells):
            for j, phase in enumerate(phases):
                panel = panels[i, j]
                _ratio_panel(
                    panel, frame[(frame["cell"] == cell) & (frame["phase"] == phase)], axes_names, frame
                )
                panel.set_title(f"{cell}, {phase}", loc="left", fontsize=9)
                if j == 0:
                    reference = frame.loc[frame["cell"] == cell, "reference"].iloc[0]
                    panel.set_ylabel(f"time / time of {reference}")
        _legend_and_foot(figure, panels[0, 0], foot)
    return figure


def _workloads(frame: pd.DataFrame, axes_names: list[str]) -> list[tuple[Any, Any]]:
    """Per cell and phase, the distinct workloads in order."""
    return [
        (key, part.drop_duplicates(axes_names).sort_values(axes_names, kind="stable"))
        for key, part in frame.groupby(["cell", "phase"], sort=False)
    ]


def _ratio_panel(panel: Axes, rows: pd.DataFrame, axes_names: list[str], frame: pd.DataFrame) -> None:
    if rows.empty:
        panel.set_axis_off()
        return
    places = rows.drop_duplicates(axes_names).sort_values(axes_names, kind="stable")
    position = {tuple(values): k for k, values in enumerate(places[axes_names].itertuples(index=False))}
    floors = [rows.loc[(rows[axes_names] == list(key)).all(axis=1), "noise_floor"].iloc[0] for key in position]
    panel.bar(
        range(len(floors)),
        np.array(floors) - 1 / np.array(floors),
        bottom=1 / np.array(floors),
        width=0.96,
        color="#cccccc",
        label="noise floor (reference against itself)",
    )
    panel.axhline(1, color="black", linewidth=1, label="reference")
    references = set(frame["reference"])
    names = [name for name in frame["implementation"].unique() if name not in references]
    for k, name in enumerate(names):
        some = rows[rows["implementation"] == name]
        x = np.array([position[tuple(v)] for v in some[axes_names].itertuples(index=False)], dtype=float)
        x += (k - (len(names) - 1) / 2) * 0.8 / len(names)
        ratio = some["ratio"].to_numpy()
        errors = np.abs(np.stack([some["ratio_low"], some["ratio_high"]]) - ratio)
        panel.errorbar(
            x,
            ratio,
            yerr=errors,
            fmt=MARKERS[k % len(MARKERS)],
            color=COLOURS[k % len(COLOURS)],
            markersize=4,
            elinewidth=1,
            capsize=2,
            label=name,
        )
    labels = ["\n".join(f"{ROW_AXES[a]}{v}" for a, v in zip(axes_names, key, strict=True)) for key in position]
    panel.set_xticks(range(len(labels)), labels, fontsize=7)
    panel.grid(False, axis="x")
    _ratio_scale(panel)


def _ratio_scale(panel: Axes) -> None:
    panel.set_yscale("log")
    ticks = [0.25, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100]
    panel.yaxis.set_major_locator(FixedLocator(ticks))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_minor_formatter(NullFormatter())


def time_figure(frame: pd.DataFrame, foot: str) -> Figure:
    """Median time over batch size: a row per cell, a column per stack, a line per implementation."""
    others = [axis for axis in row_axes(frame) if axis != "batch_size"]
    swept = frame.groupby(others)["batch_size"].transform("nunique")
    if swept.max() > 1:  # lines where there are lines to draw
        frame = frame[swept > 1]
    cells = list(frame["cell"].unique())
    stacks = frame.drop_duplicates(others).sort_values(others, kind="stable")[others]
    names = list(frame["implementation"].unique())
    with house_style():
        size = (2.5 * len(stacks) + 0.8, 2.1 * len(cells) + 0.9)
        figure = Figure(figsize=(max(size[0], 5), size[1]), layout="constrained")
        panels = figure.subplots(len(cells), len(stacks), squeeze=False, sharex=True, sharey="row")
        for i, cell in enumerate(cells):
            for j, stack in enumerate(stacks.itertuples(index=False)):
                rows = frame[(frame["cell"] == cell) & (frame[others] == list(stack)).all(axis=1)]
                _time_panel(panels[i, j], rows, names, set(frame["reference"]))
                title = " ".join(f"{ROW_AXES[a]}{v}" for a, v in zip(others, stack, strict=True))
                panels[i, j].set_title(f"{cell}, {title}", loc="left", fontsize=9)
                if j == 0:
                    panels[i, j].set_ylabel("median time (ms)")
                if i == len(cells) - 1:
                    panels[i, j].set_xlabel("batch size")
        _legend_and_foot(figure, panels[0, 0], foot)
    return figure


def _time_panel(panel: Axes, rows: pd.DataFrame, names: list[str], references: set[str]) -> None:
    others = [name for name in names if name not in references]
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    for name in names:
        some = rows[rows["implementation"] == name].sort_values("batch_size")
        is_reference = name in references
        k = 0 if is_reference else others.index(name)
        panel.plot(
            some["batch_size"],
            1e3 * some["median_s"],
            color="black" if is_reference else COLOURS[k % len(COLOURS)],
            marker="x" if is_reference else MARKERS[k % len(MARKERS)],
            linestyle="-" if is_reference else DASHES[(k + 1) % len(DASHES)],
            markersize=4,
            linewidth=1.3,
            label=name,
        )
    batches = sorted(rows["batch_size"].unique())
    panel.set_xticks(batches, [str(b) for b in batches])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_locator(NullLocator())


def _legend_and_foot(figure: Figure, panel: Axes, foot: str) -> None:
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.supxlabel(foot, fontsize=7, color="#555555")
