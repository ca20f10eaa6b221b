"""How many times as long as the reference, or how many times as fast: a panel per cell and phase."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unrolled.render.speed_axes import Place, at, key, labels, places, row_axes
from unrolled.render.speed_reading import Quantity
from unrolled.render.speed_style import HOLLOW, NOTHING, contenders, log_axis, look, ticks
from unrolled.render.style import NARROWEST, finish, house_style, labelled, title_panel
from unrolled.render.text import significant, span
from unrolled.speed.statistics import CONFIDENCE, TELLS_WITHIN

if TYPE_CHECKING:
    import pandas as pd

AROUND_ONE = (0.8, 1.25)  # shown in any case
NOTHING_TOLD = (0.25, 4.0)  # shown where no interval tells anything
MARGIN = 1.08
# Inches of a figure: beyond that phases stand below each other, and a panel goes on in a next one.
WIDEST = 14.0
FEW = 3  # contenders that a title names one by one


def ratio_figure(frame: pd.DataFrame, foot: str, shown: Quantity) -> Figure:
    """With 99 % intervals, on the noise floor; `frame` is what `speed_reading.read` gives, of timed results.

    An interval that tells nothing has a hollow marker, and an arrow where it goes on beyond the panel.
    """
    axes, names, limits = row_axes(frame), contenders(frame), _limits(frame)
    inches = max(0.42, 0.16 * len(names))  # of a workload
    grid = _grid(frame, axes, int((WIDEST - 0.9) / inches), inches)
    most = max(len(found) for row in grid for _, _, found in row)
    columns = len(grid[0])
    width = max(NARROWEST / columns, inches * most + 0.9)
    with house_style():
        figure = Figure(figsize=(width * columns + 0.4, 2.2 * len(grid)), layout="constrained")
        panels = figure.subplots(len(grid), columns, squeeze=False, sharey=True)
        for i, row in enumerate(grid):
            for j, (title, rows, found) in enumerate(row):
                if not found:
                    panels[i, j].set_axis_off()
                    continue
                _panel(panels[i, j], rows, axes, found, names, limits)
                title_panel(panels[i, j], title)
                if j == 0 or not row[0][2]:
                    label = shown.label.format(rows["reference"].iloc[0])
                    panels[i, j].set_ylabel(f"{label}\n← {shown.below}          {shown.above} →")
                    panels[i, j].tick_params(labelleft=True)
        panels[0, 0].set_yscale("log")
        panels[0, 0].set_ylim(*limits)
        log_axis(panels[0, 0].yaxis, ticks(*limits), "×")
        handles = labelled(figure.axes) | _explained(frame, limits)
        return finish(figure, ratio_title(frame, shown), _note(frame, axes), foot, handles)


def ratio_title(frame: pd.DataFrame, shown: Quantity) -> str:
    """What the contenders took, as a sentence: geometric means over what can be told, and how far they go."""
    rows = frame[frame["implementation"] != frame["reference"]]
    told = rows[rows["told"]]
    if told.empty:
        return f"Nothing can be told: every interval is wider than a factor of\u00a0{TELLS_WITHIN:g}"
    said = []
    for reference, part in told.groupby("reference", sort=False):
        ratios = {str(name): rows["ratio"] for name, rows in part.groupby("implementation", sort=False)}
        phrase = _one_by_one if len(ratios) <= FEW else _ends
        said.append(phrase(ratios, str(reference), shown))
    return "; ".join(said)


def _one_by_one(ratios: dict[str, pd.Series], reference: str, shown: Quantity) -> str:
    """`cells took 2.04 times as long as fused (1.14 to 7.51), hoisted 1.58 times (0.902 to 5.66)`."""
    verb, unit = ("took", "times as long") if shown.name == "ratio" else ("was", "times as fast")
    (first, those), *others = ratios.items()
    said = [f"{first} {verb} {significant(_mean_of(those))} {unit} as {reference}{_ends_of(those)}"]
    said += [f"{name} {significant(_mean_of(each))} times{_ends_of(each)}" for name, each in others]
    return ", ".join(said)


def _ends(ratios: dict[str, pd.Series], reference: str, shown: Quantity) -> str:
    """`Of 10 implementations hoisted was fastest (0.800 times as long as fused), mine slowest (8.00 times)`."""
    unit = "times as long" if shown.name == "ratio" else "times as fast"
    fastest, *_, slowest = sorted(
        ratios, key=lambda name: _mean_of(ratios[name]), reverse=shown.name != "ratio"
    )
    return (
        f"Of {len(ratios)} implementations {fastest} was fastest ({significant(_mean_of(ratios[fastest]))} {unit} as "
        f"{reference}), {slowest} slowest ({significant(_mean_of(ratios[slowest]))} times)"
    )


def _mean_of(ratios: pd.Series) -> float:
    return float(np.exp(np.log(ratios).mean()))


def _ends_of(ratios: pd.Series) -> str:
    ends = span(significant(ratios.min()), significant(ratios.max()))
    return f" ({ends})" if " to " in ends else ""


def _note(frame: pd.DataFrame, axes: list[str]) -> str:
    rows = frame[frame["implementation"] != frame["reference"]]
    workloads = len(rows.drop_duplicates(["cell", "phase", *axes]))
    told = "" if rows["told"].all() else ", where they can be told"
    has_means = workloads > 1 and rows["told"].any()
    means = f"In the title: geometric means over {workloads} workloads{told}. " if has_means else ""
    return f"{means}{key(frame, axes)}."


def _grid(
    frame: pd.DataFrame, axes: list[str], longest: int, inches: float
) -> list[list[tuple[str, pd.DataFrame, list[Place]]]]:
    """Rows of panels, each with its title, its results and its workloads, none where there is nothing.

    A row is of a cell, and a column of a phase; where that is too wide a row is of one phase, and of some workloads.
    """
    phases = list(frame["phase"].unique())
    parts = {
        (cell, phase): frame[(frame["cell"] == cell) & (frame["phase"] == phase)]
        for cell in frame["cell"].unique()
        for phase in phases
    }
    found = {which: places(part, axes) if len(part) else [] for which, part in parts.items()}
    if len(phases) * (inches * max(map(len, found.values())) + 0.9) <= WIDEST:
        return [
            [(f"{cell}, {phase}", parts[cell, phase], found[cell, phase]) for phase in phases]
            for cell in frame["cell"].unique()
        ]
    rows = []
    for (cell, phase), all_of_them in found.items():
        each = math.ceil(len(all_of_them) / math.ceil(len(all_of_them) / longest)) if all_of_them else 1
        for start in range(0, len(all_of_them), each):
            more = " (continued)" if start else ""
            some = all_of_them[start : start + each]
            rows.append([(f"{cell}, {phase}{more}", parts[cell, phase], some)])
    return rows


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
    panel: Axes,
    rows: pd.DataFrame,
    axes: list[str],
    found: list[Place],
    names: list[str],
    limits: tuple[float, float],
) -> None:
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
        here = [tuple(place) in x_of for place in some[axes].itertuples(index=False)]
        some = some[np.array(here, dtype=bool)]
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


def _explained(frame: pd.DataFrame, limits: tuple[float, float]) -> dict[str, Any]:
    """Entries of the legend for bars, for hollow markers and for arrows, where there are some."""
    rows = frame[frame["implementation"] != frame["reference"]]
    grey: dict[str, Any] = {"color": "#777777", "linestyle": "none"}
    entries = {f"{100 * CONFIDENCE:.0f} % interval": Line2D([], [], marker="|", markersize=9, **grey)}
    if not rows["told"].all():
        entries[NOTHING] = Line2D([], [], marker="o", markersize=4, **grey, **HOLLOW)
    if (rows["ratio_low"] < limits[0]).any() or (rows["ratio_high"] > limits[1]).any():
        entries["goes on beyond the panel"] = Line2D([], [], marker="^", markersize=4, **grey)
    return entries
