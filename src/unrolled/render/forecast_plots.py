"""Plots of a forecast study, a panel for each variant: prediction, loss, gradient norm and reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unrolled.forecast.outcome import CONVERGED, LAST
from unrolled.render.forecast_titles import (
    HORIZON,
    loss_title,
    norm_title,
    prediction_title,
    reach_title,
)
from unrolled.render.forecast_variants import Variant, sameness, variants_of
from unrolled.render.style import COLOURS, DASHES, MARKERS, finish, house_style, line_look, save, title_panel
from unrolled.render.text import counted, power_of_ten

if TYPE_CHECKING:
    import pandas as pd

BINS = 150  # of iterations, across a panel
DEEPEST = -9.0  # decades below which a profile leaves the panel
SKY = 5.0  # decades above the median loss or norm, beyond which nothing is drawn
TINY = -300.0  # decades, below which a number is 0 in all but name
MARKED = 50  # points of a loop that have a marker, about
TRUTH, CLOSED, WARMED = "#000000", COLOURS[5], COLOURS[0]
GREY = "#555555"


def draw_forecast(
    runs: pd.DataFrame, history: pd.DataFrame, loops: pd.DataFrame, reach: pd.DataFrame, folder: Path, foot: str
) -> list[Path]:
    """All plots into `folder`, as PNG and SVG; `foot` says what was trained where. Gives the paths."""
    paths = save(loss_figure(runs, history, foot), folder, "loss")
    if np.isfinite(history["log10_norm"]).any():
        paths += save(norm_figure(runs, history, foot), folder, "norm")
    variants = variants_of(runs, history)
    if len(loops):
        paths += save(prediction_figure(loops, variants, foot), folder, "prediction")
    if len(reach):
        paths += save(reach_figure(reach, variants, foot), folder, "reach")
    return paths


def panels_of(
    variants: Sequence[Variant], frame: pd.DataFrame, draw: Callable[[Axes, Variant, pd.DataFrame], None], y: str,
    x: str,
) -> Figure:  # fmt: skip
    """A panel for each variant that there is something of, all with one pair of axes."""
    shown = [(variant, part) for variant in variants if len(part := variant.rows(frame))]
    columns = min(len(shown), 3 if len(shown) != 4 else 2)
    rows = math.ceil(len(shown) / columns)
    size = (max(3.1 * columns + 0.4, 6.4), (2.9 if len(shown) == 1 else 2.4) * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for k, panel in enumerate(panels.flat):
        if k >= len(shown):
            panel.set_axis_off()
            continue
        draw(panel, *shown[k])
        title_panel(panel, shown[k][0].title)
        if k + columns >= len(shown):
            panel.set_xlabel(x)
            panel.tick_params(labelbottom=True)
    for panel in panels[:, 0]:
        panel.set_ylabel(y)
    return figure


def loss_figure(runs: pd.DataFrame, history: pd.DataFrame, foot: str) -> Figure:
    """Loss over iterations, log scale, beside that of the best constant answer and what counts as converged."""
    variants = variants_of(runs, history)
    constant = float(runs["constant_loss"].iloc[0])
    recalls = bool(runs["accuracy"].notna().any())
    sky = _sky(np.log10(history["loss"].where(history["loss"] > 0)))

    def draw(panel: Axes, variant: Variant, part: pd.DataFrame) -> None:
        """The loss of one variant."""
        panel.set_yscale("log")
        _band(panel, part, np.log10(part["loss"].where(part["loss"] > 0)), sky, "loss")
        answer = "guessing, without the input" if recalls else "predicting the mean, the best constant answer"
        panel.axhline(constant, color="#000000", linewidth=1.1, linestyle="--", label=answer)
        panel.axhline(
            CONVERGED * constant, color=GREY, linewidth=1.1, linestyle=":",
            label=f"converged: median of the last {LAST} at most {100 * CONVERGED:g} % of that",
        )  # fmt: skip

    with house_style():
        what = "cross entropy, nats" if recalls else "mean squared error"
        figure = panels_of(variants, history, draw, f"loss ({what})", "iteration")
        _without_the_sky(figure, sky)
        note = " ".join(part for part in (_bands(history), _off(sky), sameness(variants)) if part)
        return finish(figure, loss_title(runs, variants), note, foot)


def norm_figure(runs: pd.DataFrame, history: pd.DataFrame, foot: str) -> Figure:
    """Global gradient norm over iterations, log scale, before clipping and after, with the bounds."""
    variants = variants_of(runs, history)
    sky = _sky(history["log10_norm"])

    def draw(panel: Axes, variant: Variant, part: pd.DataFrame) -> None:
        """The norms of one variant, those after clipping where it acted."""
        panel.set_yscale("log")
        _band(panel, part, part["log10_norm"], sky, "norm before clipping")
        if (part["touched"] > 0).any():
            _, middle, x, _ = _binned(part["iteration"], part["log10_clipped"], sky)
            panel.plot(x, middle, color=COLOURS[5], linewidth=1.3, linestyle=DASHES[1], label="after, median")
        for clip in variant.clips:
            own = history[(history["network"] == variant.network) & (history["clip"] == clip)]
            if own["bounds_norm"].iloc[0]:  # not an entry, or one parameter
                _, bound, x, _ = _binned(
                    own["iteration"], np.log10(own["bound"].where(own["bound"] > 0)), math.inf
                )
                panel.plot(
                    x, bound, color="#000000", linewidth=1.1, linestyle=DASHES[3], label="bound of the clip"
                )

    with house_style():
        figure = panels_of(variants, history, draw, "global gradient norm\n(L2, all parameters)", "iteration")
        _without_the_sky(figure, sky)
        note = " ".join(part for part in (_bands(history), _off(sky), sameness(variants)) if part)
        return finish(figure, norm_title(runs, history, variants), note, foot)


def _sky(log10: pd.Series) -> float:
    """Decades above which nothing is drawn; inf where nothing is so high."""
    finite = log10[np.isfinite(log10)]
    sky = float(finite.median()) + SKY if len(finite) else math.inf
    return sky if len(finite) and finite.max() > sky else math.inf


def _off(sky: float) -> str:
    return f"What is above {power_of_ten(sky)} leaves the panel." if math.isfinite(sky) else ""


def _without_the_sky(figure: Figure, sky: float) -> None:
    """Let what diverges leave the panels at the top, so that the others are more than a line at the bottom."""
    panel = figure.axes[0]  # the others share its axes
    if math.isfinite(sky) and panel.get_ylim()[1] > 10**sky > panel.get_ylim()[0]:
        panel.set_ylim(top=10**sky)


def _bands(history: pd.DataFrame) -> str:
    """What a line and a band are."""
    width, seeds = _width(history["iteration"]), history["seed"].nunique()
    over = " and ".join(
        [*([f"every {width} iterations"] if width > 1 else []), *([f"{seeds} seeds"] if seeds > 1 else [])]
    )
    return f"Line: median over {over}; band: least to largest." if over else ""


def _width(iteration: pd.Series) -> int:
    return max(1, math.ceil(int(iteration.max()) / BINS))


def _band(panel: Axes, part: pd.DataFrame, log10: pd.Series, sky: float, label: str) -> None:
    """The median over stretches and seeds, and the band from least to largest where there is one."""
    low, middle, x, high = _binned(part["iteration"], log10, sky)
    if _bands(part):
        panel.fill_between(
            x, low, high, color=COLOURS[0], alpha=0.25, linewidth=0, label=f"{label}, least to largest"
        )
        label += ", median"
    panel.plot(x, middle, color=COLOURS[0], linewidth=1.2, label=label)


def _binned(
    iteration: pd.Series, log10: pd.Series, sky: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Least, median, iteration and largest of each stretch of iterations, over all seeds, finite ones only."""
    finite = np.isfinite(log10.to_numpy())
    number = iteration.to_numpy()[finite]
    value = 10.0 ** np.clip(log10.to_numpy()[finite], TINY, min(sky + 1, -TINY))
    bins = (number - 1) // _width(iteration)
    found = [
        (value[bins == k].min(), np.median(value[bins == k]), number[bins == k].mean(), value[bins == k].max())
        for k in np.unique(bins)
    ]
    low, middle, x, high = np.array(found).T if found else np.empty((4, 0))
    return low, middle, x, high


def prediction_figure(loops: pd.DataFrame, variants: Sequence[Variant], foot: str) -> Figure:
    """Of the first seed: the truth, and the closed loop after one true point and after a warm-up.

    Both loops begin with the state that training left.
    """
    first = loops[loops["seed"] == loops["seed"].iloc[0]]
    low, high = first["truth"].min(), first["truth"].max()
    room = 0.5 * (high - low) or 1.0

    def near(values: pd.Series) -> pd.Series:
        """Without what is far off, which would make the truth a flat line."""
        return values.where(values.between(low - 20 * room, high + 20 * room))

    def draw(panel: Axes, variant: Variant, part: pd.DataFrame) -> None:
        """The truth and both loops of one variant, with a rule where the warm-up ends."""
        warm_up = part["warm_up"].iloc[0]
        line: dict[str, Any] = {"linewidth": 1.1, "markersize": 3.2, "markevery": max(1, len(part) // MARKED)}
        panel.plot(part["step"], part["truth"], color=TRUTH, marker=MARKERS[0], label="truth", **line)
        panel.plot(
            part["step"], near(part["prediction"]), color=CLOSED, marker=MARKERS[1], linestyle=DASHES[1],
            label="closed loop after one true point", **line,
        )  # fmt: skip
        panel.plot(
            part["step"], near(part["warmed_up"]), color=WARMED, marker=MARKERS[2], linestyle=DASHES[2],
            label=f"closed loop after {counted(warm_up, 'true point')}", **line,
        )  # fmt: skip
        panel.axhline(0, color=GREY, linewidth=1.1, linestyle=DASHES[3], zorder=1, label="predicting 0")
        panel.axvline(
            warm_up,
            color="#999999",
            linewidth=0.8,
            zorder=1,
            label=f"the last of {counted(warm_up, 'true point')}",
        )
        panel.set_ylim(low - room, high + room)
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    with house_style():
        figure = panels_of(variants, first, draw, "signal (no unit)", "point of the window")
        said = ["Closed loop: each prediction is the next input."]
        said += [f"Seed {first['seed'].iloc[0]}, the first of several."] if loops["seed"].nunique() > 1 else []
        said += [sameness(variants)]
        return finish(figure, prediction_title(first, variants), " ".join(filter(None, said)), foot)


def reach_figure(reach: pd.DataFrame, variants: Sequence[Variant], foot: str) -> Figure:
    """log10 of gradient norm over lag, relative to lag 0, as training goes on; last layer, first seed."""
    top = reach[(reach["layer"] == reach["layer"].max()) & (reach["path"] == "h")]
    first = top[top["seed"] == top["seed"].iloc[0]]
    marks = sorted(first["iteration"].unique())

    def draw(panel: Axes, variant: Variant, part: pd.DataFrame) -> None:
        """A line for each mark of one variant."""
        for mark, rows in part.groupby("iteration"):
            k = marks.index(mark)
            rows = rows.sort_values("lag")
            norm = rows["log10_norm"].to_numpy()
            norm = (
                np.where(np.isfinite(norm), norm - norm[0], np.nan) if np.isfinite(norm[0]) else norm * np.nan
            )
            panel.plot(
                rows["lag"], norm, **line_look(k), linestyle=DASHES[k % len(DASHES)],
                markevery=max(1, len(rows) // 8), markersize=4.5, linewidth=1.3,
                label="untrained" if mark == 0 else f"after {counted(int(mark), 'iteration')}",
            )  # fmt: skip
        panel.axhline(HORIZON, color=GREY, linewidth=0.8, zorder=1, label="horizon: 1/1000 of lag 0")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    with house_style():
        y = "log10 of gradient norm\nat lag k / at lag 0"
        figure = panels_of(variants, first, draw, y, "lag k (steps before the last)")
        shown = np.concatenate(
            [np.asarray(line.get_ydata(), float) for panel in figure.axes for line in panel.get_lines()]
        )
        low, high = np.nanmin(shown), np.nanmax(shown)
        figure.axes[0].set_ylim(max(DEEPEST, min(low, HORIZON)) - 0.5, high + 0.5)  # the panels share it
        below = f"Below {power_of_ten(DEEPEST)} nothing is shown." if low < DEEPEST - 0.5 else ""
        note = " ".join(part for part in (below, sameness(variants)) if part)
        return finish(figure, reach_title(first, variants), note, foot)
