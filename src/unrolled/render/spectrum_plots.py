"""Plots of a spectrum study, from its tidy frames: exponents, singular values over lag, chaos over gain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from unrolled.render.gradflow_plots import LINE_COLOURS, LINE_MARKERS
from unrolled.render.spectrum_tables import row_label
from unrolled.render.style import COLOURS, DASHES, MARKERS, house_style, save

if TYPE_CHECKING:
    import pandas as pd

CARRIES = -3  # decades: 1/1000 of what went in
LOWEST = -4.0  # nats per step: 1/50 a step; what is lost faster is lost
DEEPEST = -12.0  # decades of singular values that are shown
COLUMNS = 4


def draw_spectrum(
    spectrum: pd.DataFrame,
    fan: pd.DataFrame,
    gains: pd.DataFrame,
    lines: pd.DataFrame,
    transitions: pd.DataFrame,
    folder: Path,
    foot: str,
    gain_foot: str,
) -> list[Path]:
    """All plots into `folder`, as PNG and SVG; the feet say what was measured where. Gives the paths."""
    paths: list[Path] = []
    if len(spectrum):
        paths += save(spectrum_figure(spectrum, foot), folder, "spectrum")
    if len(fan):
        paths += save(fan_figure(fan, foot), folder, "singular_values")
    if len(gains) and np.isfinite(gains["mean"]).any():
        paths += save(gain_figure(gains, lines, transitions, gain_foot), folder, "gain")
    return paths


def spectrum_figure(spectrum: pd.DataFrame, foot: str) -> Figure:
    """Exponents over their index as a share of all, a line per network or layer: a panel per input."""
    drives = list(spectrum["drive"].unique())
    names = list(dict.fromkeys(row_label(row) for row in spectrum[["network", "profile"]].to_dict("records")))
    with house_style():
        figure = Figure(figsize=(4.1 * len(drives) + 0.4, 4.4), layout="constrained")
        panels = figure.subplots(1, len(drives), squeeze=False, sharey=True)[0]
        for panel, drive in zip(panels, drives, strict=True):
            part = spectrum[spectrum["drive"] == drive]
            for (network, profile), rows in part.groupby(["network", "profile"], sort=False):
                name = row_label({"network": network, "profile": profile})
                _spectrum_line(panel, rows, names.index(name), name)
            panel.axhline(0, color="#333333", linewidth=0.9)
            panel.set_title(f"input: {drive}", loc="left", fontsize=9)
            panel.set_xlabel("index i / size n of the state")
            panel.set_xlim(-0.02, 1.02)
        finite = spectrum["exponent"][np.isfinite(spectrum["exponent"])]
        low = max(LOWEST, float(finite.min()) if len(finite) else -1.0)
        high = max(float(finite.max()) if len(finite) else 0.0, 0.0)
        margin = 0.05 * max(high - low, 0.1)
        panels[0].set_ylim(low - margin, high + margin)
        panels[0].set_ylabel("Lyapunov exponent λᵢ (nats per step)")
        handles = {
            label: handle
            for panel in panels
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        columns = min(3, 2 * len(drives))
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper center", ncols=columns, fontsize=8
        )
        figure.supxlabel(foot, fontsize=7, color="#555555")
    return figure


def _spectrum_line(panel: Axes, rows: pd.DataFrame, k: int, name: str) -> None:
    place = (rows["index"] - 0.5) / rows["size"]
    exponents = rows["exponent"].where(np.isfinite(rows["exponent"]))
    colour = LINE_COLOURS[k % len(LINE_COLOURS)]
    last = len(rows) - 1
    panel.plot(
        place,
        exponents,
        color=colour,
        marker=LINE_MARKERS[k % len(LINE_MARKERS)],
        markerfacecolor=colour if k < len(LINE_COLOURS) else "white",
        markevery=sorted({round(last * share / 7 + k * last / 56) for share in range(7)}),
        markersize=4.5,
        linewidth=1.3,
        label=name,
    )


def fan_figure(fan: pd.DataFrame, foot: str) -> Figure:
    """log10 of every singular value over lag: a panel per network, of the first of its inputs."""
    first = fan["drive"].iloc[0]
    shown = [
        (row_label({"network": network, "profile": profile}), part)
        for (network, profile), part in fan[fan["drive"] == first].groupby(["network", "profile"], sort=False)
    ]
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    with house_style():
        size = (max(2.15 * columns + 0.5, 4.2), 2.0 * rows + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for panel, (name, part) in zip(panels.flat, shown, strict=False):
            _fan(panel, part)
            panel.set_title(name, loc="left", fontsize=8)
        for panel in panels.flat[len(shown) :]:
            panel.set_axis_off()
        values = fan["log10_singular_value"]
        finite = values[np.isfinite(values)]
        high = float(finite.max()) if len(finite) else 0.0
        low = max(DEEPEST, float(finite.min()) if len(finite) else -1.0)
        panels[0, 0].set_ylim(min(low, CARRIES - 1), max(high, 0.0) + 0.05 * max(high - low, 1.0))
        panels[0, 0].set_xlim(0, fan["lag"].max())
        panels[0, 0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
        for panel in panels[-1]:
            panel.set_xlabel("lag k (steps)")
        for panel in panels[:, 0]:
            panel.set_ylabel("log10 singular value")
        handles = [
            Line2D([], [], color=COLOURS[0], linewidth=1.6, label="largest"),
            Line2D([], [], color="#D55E00", linewidth=1.6, linestyle="--", label="median"),
            Line2D([], [], color="#9a9a9a", linewidth=0.7, label="the others"),
            Line2D([], [], color="#333333", linewidth=0.8, linestyle=":", label="carries 1/1000"),
        ]
        figure.legend(
            handles=handles, loc="outside upper center", ncols=4 if columns > 2 else 2, fontsize=8,
            title=f"of the Jacobian over the last k steps, input: {first}, first sample", title_fontsize=9,
        )  # fmt: skip
        figure.supxlabel(foot, fontsize=7, color="#555555")
    return figure


def _fan(panel: Axes, part: pd.DataFrame) -> None:
    """Every singular value is a line; over no step at all each is 1."""
    table = part.pivot_table(index="lag", columns="index", values="log10_singular_value", dropna=False)
    lags = np.concatenate([[0], table.index.to_numpy()])
    values = np.vstack([np.zeros(table.shape[1]), table.to_numpy()])
    values = np.where(np.isfinite(values), values, np.nan)
    panel.plot(lags, values, color="#9a9a9a", linewidth=0.5)
    panel.plot(lags, values[:, (table.shape[1] - 1) // 2], color="#D55E00", linewidth=1.6, linestyle="--")
    panel.plot(lags, values[:, 0], color=COLOURS[0], linewidth=1.6)
    panel.axhline(CARRIES, color="#333333", linewidth=0.8, linestyle=":")


def gain_figure(gains: pd.DataFrame, lines: pd.DataFrame, transitions: pd.DataFrame, foot: str) -> Figure:
    """The largest exponent over gain, measured and by mean-field theory, and where each crosses 0."""
    with house_style():
        figure = Figure(figsize=(6.6, 4.3), layout="constrained")
        panel = figure.subplots()
        panel.axhline(0, color="#333333", linewidth=0.9)
        for k, (drive, part) in enumerate(gains.groupby("drive", sort=False)):
            colour = COLOURS[k % len(COLOURS)]
            part = part[np.isfinite(part["mean"])]
            panel.errorbar(
                part["gain"], part["mean"], yerr=part["spread"].fillna(0.0), label=f"measured, input: {drive}",
                fmt=MARKERS[k % len(MARKERS)], color=colour, markersize=5, elinewidth=1, capsize=3,
            )  # fmt: skip
            line = lines[lines["drive"] == drive] if len(lines) else lines
            if len(line):
                panel.plot(
                    line["gain"], line["exponent"], color=colour, linestyle=DASHES[k % len(DASHES)],
                    linewidth=1.3, label=f"mean field, input: {drive}",
                )  # fmt: skip
        for k, row in enumerate(transitions.to_dict("records")):
            if math.isfinite(row["theory"]):
                panel.axvline(row["theory"], color=COLOURS[k % len(COLOURS)], linewidth=0.9, linestyle=":")
                panel.annotate(
                    f"transition at {row['theory']:.3g}\n({row['drive']})",
                    (row["theory"], 0.02 + 0.11 * k), xycoords=("data", "axes fraction"), xytext=(4, 0),
                    textcoords="offset points", fontsize=7, color="#333333",
                )  # fmt: skip
        panel.set_xlabel("gain g, a factor on the recurrent weights")
        panel.set_ylabel("largest Lyapunov exponent λ₁ (nats per step)")
        panel.set_title(gains["network"].iloc[0], loc="left", fontsize=9)
        panel.legend(fontsize=8, loc="lower right")
        figure.supxlabel(foot, fontsize=7, color="#555555")
    return figure
