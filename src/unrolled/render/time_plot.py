"""Time over a size, or over threads: a row of panels per cell, a panel for each combination of the other sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from unrolled.render.speed_axes import ROW_AXES, WORDS, Place, at, key, labels, places, row_axes
from unrolled.render.speed_style import HOLLOW, REFERENCE, contenders, explain_hollow, log_axis, look, ticks
from unrolled.render.style import NARROWEST, finish, house_style, row_by_row, spaced, title_panel
from unrolled.render.text import significant, span

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Swept:
    """An axis that a plot can be over: its name in files, its letter in a power law."""

    name: str
    letter: str


SWEPT = {
    "batch_size": Swept("batch", "B"),
    "seq_len": Swept("length", "T"),
    "hidden_size": Swept("hidden", "H"),
    "input_size": Swept("input", "I"),
    "num_layers": Swept("layers", "L"),
    "threads": Swept("threads", "p"),
}
FLATTEST = 2.0  # the factor of time that a panel shows at least
PANEL = 2.5  # inches of width
MOST = 5  # panels in a row
COLUMNS = 3  # of exponents above it
FEW = 3  # contenders that a title names one by one


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
    others, names = row_axes(frame, without=axis), contenders(frame)
    grid = _grid(frame, others)
    columns = len(grid[0][1])
    sizes, width = sorted(frame[axis].unique()), max(PANEL, NARROWEST / columns)
    with house_style():
        figure = Figure(
            figsize=(width * columns + 0.8, (2.1 + 0.17 * _rows(names)) * len(grid)), layout="constrained"
        )
        panels = figure.subplots(len(grid), columns, squeeze=False, sharex=True)
        for i, (cell, stacks) in enumerate(grid):
            of_cell = frame[frame["cell"] == cell]
            first = next(j for j, stack in enumerate(stacks) if stack is not None)
            for j, stack in enumerate(stacks):
                if stack is None:
                    panels[i, j].set_axis_off()
                    continue
                _panel(panels[i, j], at(of_cell, others, stack), axis, names)
                where = " ".join(labels(others, stack))
                pad = 5 + 11 * _rows(names)
                title_panel(panels[i, j], f"{cell}, {where}" if where else str(cell), pad)
                _times(panels[i, j], of_cell, named=j == first)
                if i + 1 == len(grid) or grid[i + 1][1][j] is None:
                    panels[i, j].set_xlabel(f"{WORDS[axis]} {SWEPT[axis].letter}")
                    panels[i, j].tick_params(labelbottom=True)
        if not frame["told"][frame["implementation"] != frame["reference"]].all():
            explain_hollow(panels[0, 0])
        _sizes(panels[0, 0], sizes, width - 0.4)
        letter = SWEPT[axis].letter
        law = rf"${{\propto}}{letter}^x$: the power law through a line, by least squares of the logarithms"
        note = f"{law}. {key(frame[[c for c in frame if c != axis]], others)}."
        return finish(figure, time_title(frame, axis), note, foot)


def time_title(frame: pd.DataFrame, axis: str) -> str:
    """How much longer a call takes at the largest size than at the smallest, as a sentence: from line to line."""
    sizes, letter = sorted(frame[axis].unique()), SWEPT[axis].letter
    change = f"From {letter} = {sizes[0]} to {sizes[-1]}"
    call = f"a {frame['phase'].iloc[0]} call"
    reference = frame["reference"].iloc[0]
    told = frame[frame["told"] | (frame["implementation"] == frame["reference"])]
    known = {
        str(name): _factors(rows, axis, sizes)
        for name, rows in told[told["implementation"] != told["reference"]].groupby(
            "implementation", sort=False
        )
    }
    beside = frame.assign(median_s=frame["reference_median_s"]).drop_duplicates(["cell", *_sizes_of(frame)])
    known = {reference: _factors(beside, axis, sizes)} | known
    if len(known) > FEW + 1:
        others = [factor for name, each in known.items() if name != reference for factor in each]
        known = {reference: known[reference], f"the {len(known) - 1} others": others}
    said = [
        (name, span(significant(min(factors)), significant(max(factors))))
        for name, factors in known.items()
        if factors
    ]
    if not said:
        return f"{change}, no line has both ends"
    (first, factor), *more = said
    return ", ".join(
        [
            f"{change} {call} takes {first} {factor} times as long",
            *(f"{name} {f} times" for name, f in more),
        ]
    )


def _sizes_of(frame: pd.DataFrame) -> list[str]:
    return [axis for axis in ROW_AXES if axis in frame]


def _factors(rows: pd.DataFrame, axis: str, sizes: list[int]) -> list[float]:
    """Of time, from the first size to the last, of each line that has both."""
    others = ["cell", *(other for other in _sizes_of(rows) if other != axis)]
    factors = []
    for _, line in rows.groupby(others, sort=False):
        times = dict(zip(line[axis], line["median_s"], strict=True))
        if sizes[0] in times and sizes[-1] in times:
            factors.append(float(times[sizes[-1]] / times[sizes[0]]))
    return factors


def _grid(frame: pd.DataFrame, others: list[str]) -> list[tuple[str, list[Place | None]]]:
    """Rows of panels: of a cell, and the sizes of each; None where there is no panel.

    A cell begins a row, and takes a second one where it has more than `MOST` panels.
    """
    everywhere = places(frame, others)
    columns = min(MOST, len(everywhere))
    rows: list[tuple[str, list[Place | None]]] = []
    for cell in frame["cell"].unique():
        of_cell = frame[frame["cell"] == cell]
        there = set(places(of_cell, others))
        aligned: list[Place | None] = [place if place in there else None for place in everywhere]
        if len(everywhere) > MOST:
            aligned = [place for place in aligned if place is not None]
        aligned += [None] * (-len(aligned) % columns)
        rows += [(cell, aligned[start : start + columns]) for start in range(0, len(aligned), columns)]
    return rows


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
        exponents.append(
            "?" if power is None else rf"$\propto {SWEPT[axis].letter}^{{{round(power, 2) + 0.0:.2f}}}$"
        )
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


def _times(panel: Axes, rows: pd.DataFrame, named: bool) -> None:
    """The log axis of all panels of a cell, with a tick or more however flat the lines are."""
    times = 1e3 * np.concatenate([rows["median_s"], rows["reference_median_s"]])
    low, high = np.nanmin(times) / 1.15, np.nanmax(times) * 1.15
    wider = max(1.0, FLATTEST / (high / low)) ** 0.5
    low, high = low / wider, high * wider
    panel.set_yscale("log")
    panel.set_ylim(low, high)
    log_axis(panel.yaxis, ticks(low, high))
    panel.tick_params(labelleft=named)
    if named:
        panel.set_ylabel("time of a call (ms)")


def _sizes(panel: Axes, sizes: list[int], width: float) -> None:
    """A tick at each size, with its number where there is room for it on a panel of `width` inches."""
    panel.set_xscale("log")
    named = spaced(sizes, width / np.log(sizes[-1] / sizes[0]) * np.log(sizes))
    log_axis(panel.xaxis, named)
    panel.xaxis.set_minor_locator(FixedLocator([size for size in sizes if size not in named]))
    panel.xaxis.set_minor_formatter(NullFormatter())
