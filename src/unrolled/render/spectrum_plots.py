"""Plots of a spectrum study, from its tidy frames: exponents, singular values over lag, chaos over gain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

from unrolled.render.spectrum_tables import row_label
from unrolled.render.spectrum_titles import CARRIES, INPUTS, fan_title, gain_title, spectrum_title
from unrolled.render.style import (
    COLOURS,
    DASHES,
    MARKERS,
    NARROWEST,
    finish,
    house_style,
    labelled,
    line_look,
    save,
    spaced,
    title_panel,
)
from unrolled.render.text import power_of_ten

if TYPE_CHECKING:
    import pandas as pd

LOWEST = -4.0  # nats per step: 1/50 a step; what is lost faster is lost
DEEPEST = -12.0  # decades of singular values that are shown
COLUMNS = 4
LOG_FROM = 20.0  # the factor between gains from which their axis is logarithmic


def draw_spectrum(
    spectrum: pd.DataFrame,
    table: pd.DataFrame,
    fan: pd.DataFrame,
    gains: pd.DataFrame,
    lines: pd.DataFrame,
    transitions: pd.DataFrame,
    folder: Path,
    foot: str,
    gain_foot: str,
    note: str = "",
    gain_note: str = "",
    untrained: bool = False,
) -> list[Path]:
    """All plots into `folder`, as PNG and SVG; the feet say what was measured where. Gives the paths.

    The notes say how the networks started out, `untrained` whether that is how they are.
    """
    paths: list[Path] = []
    if len(spectrum):
        paths += save(spectrum_figure(spectrum, table, foot, note, untrained), folder, "spectrum")
    if len(fan):
        paths += save(fan_figure(fan, foot, note), folder, "singular_values")
    if len(gains) and np.isfinite(gains["mean"]).any():
        paths += save(gain_figure(gains, lines, transitions, gain_foot, gain_note), folder, "gain")
    return paths


def spectrum_figure(
    spectrum: pd.DataFrame, table: pd.DataFrame, foot: str, note: str = "", untrained: bool = False
) -> Figure:
    """Exponents over their index as a share of all, a line per network or layer: a panel per input.

    `table` has what the exponents amount to.
    """
    drives = list(spectrum["drive"].unique())
    names = list(dict.fromkeys(row_label(row) for row in spectrum[["network", "profile"]].to_dict("records")))
    with house_style():
        width = max(4.1 * len(drives) + 0.4, NARROWEST)
        figure = Figure(figsize=(width, 3.7), layout="constrained")
        panels = figure.subplots(1, len(drives), squeeze=False, sharey=True)[0]
        for panel, drive in zip(panels, drives, strict=True):
            part = spectrum[spectrum["drive"] == drive]
            for (network, profile), rows in part.groupby(["network", "profile"], sort=False):
                name = row_label({"network": network, "profile": profile})
                _spectrum_line(panel, rows, names.index(name), name)
            panel.axhline(0, color="#333333", linewidth=0.9, zorder=1, label="0: a change keeps its size")
            title_panel(panel, f"{INPUTS[drive]}")
            panel.set_xlabel("index i / size n of the state")
            panel.set_xlim(-0.02, 1.02)
        finite = spectrum["exponent"][np.isfinite(spectrum["exponent"])]
        low = max(LOWEST, float(finite.min()) if len(finite) else -1.0)
        high = max(float(finite.max()) if len(finite) else 0.0, 0.0)
        margin = 0.05 * max(high - low, 0.1)
        panels[0].set_ylim(low - margin, high + margin)
        panels[0].set_ylabel("Lyapunov exponent λᵢ (nats per step)")
        said = f"{note} " if note else ""
        if len(finite) and finite.min() < low - margin:
            said += f"Exponents below −{-low:g}, 1/{math.exp(-low):.0f} a step, are beyond the panel. "
        if (spectrum["exponent"] == -math.inf).any():
            said += "A line ends where exponents are −∞: such a change is lost for good. "
        return finish(figure, spectrum_title(table, untrained), said.strip(), foot)


def _spectrum_line(panel: Axes, rows: pd.DataFrame, k: int, name: str) -> None:
    place = (rows["index"] - 0.5) / rows["size"]
    exponents = rows["exponent"].where(np.isfinite(rows["exponent"]))
    last = len(rows) - 1
    marked = sorted({min(last, round(last * share / 7 + k * last / 56)) for share in range(7)})
    panel.plot(place, exponents, **line_look(k), markevery=marked, markersize=4.5, linewidth=1.3, label=name)


def fan_figure(fan: pd.DataFrame, foot: str, note: str = "") -> Figure:
    """log10 of every singular value over lag: a panel per network, of the first of its inputs."""
    first = fan["drive"].iloc[0]
    fan = fan[fan["drive"] == first]
    shown = [
        (row_label({"network": network, "profile": profile}), part)
        for (network, profile), part in fan.groupby(["network", "profile"], sort=False)
    ]
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    with house_style():
        size = (max(2.15 * columns + 0.5, NARROWEST), (2.0 if len(shown) > 1 else 2.6) * rows)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for k, (name, part) in enumerate(shown):
            panel = panels.flat[k]
            _fan(panel, part)
            title_panel(panel, name)
            if k + columns >= len(shown):
                panel.set_xlabel("lag k (steps)")
                panel.tick_params(labelbottom=True)
        for panel in panels.flat[len(shown) :]:
            panel.set_axis_off()
        values = fan["log10_singular_value"]
        finite = values[np.isfinite(values)]
        high = float(finite.max()) if len(finite) else 0.0
        low = max(DEEPEST, float(finite.min()) if len(finite) else -1.0)
        panels[0, 0].set_ylim(min(low, CARRIES - 1), max(high, 0.0) + 0.05 * max(high - low, 1.0))
        panels[0, 0].set_xlim(0, fan["lag"].max())
        panels[0, 0].xaxis.set_major_locator(MaxNLocator(3, integer=True))
        for panel in panels[:, 0]:
            panel.set_ylabel("log10 of singular value")
        handles = {
            "largest": Line2D([], [], color=COLOURS[0], linewidth=1.6),
            "median": Line2D([], [], color=COLOURS[5], linewidth=1.6, linestyle="--"),
            "the others": Line2D([], [], color="#9a9a9a", linewidth=0.7),
            "1/1000 of what went in": Line2D([], [], color="#333333", linewidth=0.8, linestyle=":"),
        }
        what = f"Singular values of the Jacobian over the last k steps, {INPUTS[first]}, first sample."
        below = (
            f" Below {power_of_ten(DEEPEST)} nothing is shown."
            if len(finite) and finite.min() < DEEPEST
            else ""
        )
        engine: Any = figure.get_layout_engine()
        engine.set(wspace=0.05)
        return finish(figure, fan_title(fan), f"{what}{below} {note}".strip(), foot, handles)


def _fan(panel: Axes, part: pd.DataFrame) -> None:
    """Every singular value is a line; over no step at all each is 1."""
    table = part.pivot_table(index="lag", columns="index", values="log10_singular_value", dropna=False)
    lags = np.concatenate([[0], table.index.to_numpy()])
    values = np.vstack([np.zeros(table.shape[1]), table.to_numpy()])
    values = np.where(np.isfinite(values), values, np.nan)
    panel.plot(lags, values, color="#9a9a9a", linewidth=0.5)
    panel.plot(lags, values[:, (table.shape[1] - 1) // 2], color=COLOURS[5], linewidth=1.6, linestyle="--")
    panel.plot(lags, values[:, 0], color=COLOURS[0], linewidth=1.6)
    panel.axhline(CARRIES, color="#333333", linewidth=0.8, linestyle=":")


def gain_figure(
    gains: pd.DataFrame, lines: pd.DataFrame, transitions: pd.DataFrame, foot: str, note: str = ""
) -> Figure:
    """The largest exponent over gain, measured and by mean-field theory, and where each crosses 0."""
    with house_style():
        figure = Figure(figsize=(6.6, 3.6), layout="constrained")
        panel = figure.subplots()
        panel.axhline(0, color="#333333", linewidth=0.9, zorder=1)
        for k, (drive, part) in enumerate(gains.groupby("drive", sort=False)):
            colour = COLOURS[k % len(COLOURS)]
            part = part[np.isfinite(part["mean"])]
            panel.errorbar(
                part["gain"], part["mean"], yerr=part["spread"].fillna(0.0), label=f"measured, {INPUTS[drive]}",
                fmt=MARKERS[k % len(MARKERS)], color=colour, markersize=5, elinewidth=1, capsize=3,
            )  # fmt: skip
            line = lines[lines["drive"] == drive] if len(lines) else lines
            if len(line):
                panel.plot(
                    line["gain"], line["exponent"], color=colour, linestyle=DASHES[k % len(DASHES)],
                    linewidth=1.3, label=f"mean-field theory, {INPUTS[drive]}",
                )  # fmt: skip
            for row in transitions[transitions["drive"] == drive].to_dict("records"):
                if math.isfinite(row["theory"]):
                    panel.axvline(
                        row["theory"], color=colour, linewidth=0.7 + 0.5 * k, linestyle=":", zorder=1,
                        label=f"theory crosses 0 at {row['theory']:.3g}, {INPUTS[drive]}",
                    )  # fmt: skip
        tried = sorted(gains["gain"].unique())
        if tried[-1] / tried[0] > LOG_FROM:
            panel.set_xscale("log")
            places = 5.5 / math.log(tried[-1] / tried[0]) * np.log(tried)
            panel.xaxis.set_major_locator(FixedLocator(spaced(tried, list(places))))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel("gain g: the recurrent weights are g times those named above")
        panel.set_ylabel("largest Lyapunov exponent λ₁\n(nats per step)")
        said = [
            f"{gains['network'].iloc[0]}. {note}".strip(),
            "Points and bars: mean and standard deviation over networks and samples.",
            "Above 0 states that differ a little grow apart: chaos.",
            "At some gains NaN or inf was met." if gains["mean"].isna().any() else "",
        ]
        handles = labelled([panel])
        by_input = {
            label: handles[label]
            for drive in gains["drive"].unique()
            for label in handles
            if label.endswith(INPUTS[drive])
        }
        return finish(figure, gain_title(transitions), " ".join(filter(None, said)), foot, by_input)
