"""Time over a size, or over threads: a row of panels per cell, a panel for each combination of the other sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from unrolled.render.speed_axes import ROW_AXES, at, labels, places, row_axes
from unrolled.render.speed_style import (
    HOLLOW,
    NARROWEST,
    REFERENCE,
    contenders,
    explain_hollow,
    legend_and_foot,
    log_axis,
    look,
    row_by_row,
    ticks,
)
from unrolled.render.style import house_style

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Swept:
    """An axis that a plot can be over: its name in files, its words on the axis, its letter in a power law."""

    name: str
    words: str
    letter: str


SWEPT = {
    "batch_size": Swept("batch", "batch size B", "B"),
    "seq_len": Swept("length", "sequence length T", "T"),
    "hidden_size": Swept("hidden", "hidden units H", "H"),
    "input_size": Swept("input", "input features I", "I"),
    "num_layers": Swept("layers", "layers L", "L"),
    "threads": Swept("threads", "threads p", "p"),
}
FLATTEST = 2.0  # the factor of time that a panel shows at least
PANEL = 2.5  # inches of width
COLUMNS = 3  # of exponents above it


def swept(frame: pd.DataFrame, axis: str) -> pd.DataFrame:
    """The rows that belong to a line over `axis`: those of two or more that differ in it and in nothing else.

    Hidden sizes that differ from layer to layer are no number, and on no line over them.
    """
    frame = frame[[not isinstance(value, str) for value in frame[axis]]]
    if frame.empty:
        return frame
    others = ["cell", *(other for other in ROW_AXES if other != axis)]
    return frame[frame.groupby(others, sort=False)[axis].transform("nunique") > 1]


def time_figure(frame: pd.DataFrame, axis: str, foot: str) -> Figure:
    """A line per implementation on log axes, with its exponent above: least squares of log time on log size.

    `frame` is what `swept` gives, of what `speed_reading.read` gives, in one phase, on one device, in one dtype.
    """
    others = row_axes(frame, without=axis)
    cells, stacks = list(frame["cell"].unique()), places(frame, others)
    names = contenders(frame)
    with house_style():
        size = (PANEL * len(stacks) + 0.8, (2.1 + 0.17 * _rows(names)) * len(cells) + 0.9)
        figure = Figure(figsize=(max(size[0], NARROWEST), size[1]), layout="constrained")
        panels = figure.subplots(len(cells), len(stacks), squeeze=False, sharex=True, sharey="row")
        for i, cell in enumerate(cells):
            of_cell = frame[frame["cell"] == cell]
            for j, stack in enumerate(stacks):
                rows = at(of_cell, others, stack)
                if rows.empty:
                    panels[i, j].set_axis_off()
                    continue
                _panel(panels[i, j], rows, axis, names)
                title = f"{cell}, {' '.join(labels(others, stack))}"
                panels[i, j].set_title(title, loc="left", fontsize=9, pad=5 + 11 * _rows(names))
            _times(panels[i], of_cell)
        if not frame["told"][frame["implementation"] != frame["reference"]].all():
            explain_hollow(panels[-1, -1])
        for panel in panels[-1]:
            panel.set_xlabel(SWEPT[axis].words)
        _sizes(panels[0, 0], sorted(frame[axis].unique()), max(PANEL, NARROWEST / len(stacks)) - 0.4)
        legend_and_foot(figure, foot)
    return figure


def _rows(names: list[str]) -> int:
    """Of the legend above a panel, for the reference and all contenders."""
    return 1 + len(names) // COLUMNS


def _panel(panel: Axes, rows: pd.DataFrame, axis: str, names: list[str]) -> None:
    """The reference, timed beside whatever was, then the contenders; hollow where nothing can be told."""
    lines: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {
        rows["reference"].iloc[0]: (
            rows.drop_duplicates(axis).assign(median_s=rows["reference_median_s"], told=True),
            REFERENCE,
        )
    }
    lines |= {name: (rows[rows["implementation"] == name], look(k)) for k, name in enumerate(names)}
    exponents = []
    for name, (line, style) in lines.items():
        line = line.sort_values(axis)
        told = line["told"].to_numpy(dtype=bool)
        x, y = line[axis].to_numpy(dtype=float), 1e3 * line["median_s"].to_numpy(dtype=float)
        panel.plot(x, y, **style, markersize=4, linewidth=1.3, label=name)
        panel.plot(x[~told], y[~told], **style | HOLLOW | {"linestyle": "none"}, markersize=4)
        power = exponent(x[told], y[told])
        exponents.append("?" if power is None else rf"$\propto {SWEPT[axis].letter}^{{{power:.2f}}}$")
    handles, _ = panel.get_legend_handles_labels()
    columns = min(COLUMNS, len(handles))
    legend = panel.legend(
        row_by_row(handles, columns), row_by_row(exponents, columns), ncols=columns, loc="lower left",
        bbox_to_anchor=(0, 1), fontsize=7.5, handlelength=1.6, handletextpad=0.3, columnspacing=0.7, borderpad=0,
        borderaxespad=0.2, labelspacing=0.2,
    )  # fmt: skip
    legend.set_in_layout(False)  # the title makes room for it


def exponent(sizes: np.ndarray, times: np.ndarray) -> float | None:
    """Of the power law through times, by least squares of their logarithms; None for fewer than two sizes."""
    if len(np.unique(sizes)) < 2:
        return None
    x, y = np.log(sizes) - np.log(sizes).mean(), np.log(times)
    return float((x @ y) / (x @ x))


def _times(panels: Any, rows: pd.DataFrame) -> None:
    """One log axis for a row of panels, with a tick or more however flat the lines are."""
    times = 1e3 * np.concatenate([rows["median_s"], rows["reference_median_s"]])
    low, high = times.min() / 1.15, times.max() * 1.15
    wider = max(1.0, FLATTEST / (high / low)) ** 0.5
    low, high = low / wider, high * wider
    panels[0].set_yscale("log")
    panels[0].set_ylim(low, high)
    log_axis(panels[0].yaxis, ticks(low, high))
    panels[0].set_ylabel("time of a call (ms)")


def _sizes(panel: Axes, sizes: list[int], width: float) -> None:
    """A tick at each size, with its number where there is room for it on a panel of `width` inches."""
    panel.set_xscale("log")
    inches = width / np.log(sizes[-1] / sizes[0])
    named: list[int] = []
    for size in reversed(sizes):
        if not named or inches * np.log(named[-1] / size) > 0.1 + 0.08 * len(str(named[-1])):
            named.append(size)
    log_axis(panel.xaxis, named)
    panel.xaxis.set_minor_locator(FixedLocator([size for size in sizes if size not in named]))
    panel.xaxis.set_minor_formatter(NullFormatter())
