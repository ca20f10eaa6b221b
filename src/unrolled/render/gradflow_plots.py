"""Plots of a gradient-flow study, from its tidy frames: norm over lag, norm over length, layer by step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from unrolled.render.style import COLOURS, DASHES, MARKERS, house_style, save

if TYPE_CHECKING:
    import pandas as pd

# Networks are told apart by colour, by marker and, in grey, by the lightness of the colour.
LINE_COLOURS = (*COLOURS, "#000000", "#888888")
LINE_MARKERS = (*MARKERS, "X", "*")
HORIZON = -3  # decades: 1/1000 of the norm at lag 0
NEAR = (-4.0, 1.5)  # decades shown where the horizons are


def draw_gradflow(flow: pd.DataFrame, lengths: pd.DataFrame, folder: Path, foot: str) -> list[Path]:
    """All plots into `folder`, as PNG and SVG; `foot` says what was measured where. Gives the paths."""
    paths: list[Path] = []
    if len(flow):
        paths += save(reach_figure(flow, foot), folder, "reach")
        deep = flow[flow.groupby("network")["layer"].transform("max") > 0]
        if len(deep):
            paths += save(layers_figure(deep, foot), folder, "layers")
    if len(lengths[lengths["problem"] == ""]):
        paths += save(lengths_figure(lengths, foot), folder, "lengths")
    return paths


def lines_of(flow: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What the reach plot has a line for: each network's last layer, or every profile of the only network."""
    keys = ["network", "clip", "module", "call", "layer", "direction", "path"]
    several = flow["network"].nunique() > 1
    lines: dict[str, pd.DataFrame] = {}
    for key, part in flow.groupby(keys, sort=False):
        network, clip, module, _, layer, direction, path = key
        top = flow.loc[flow["network"] == network, "layer"].max()
        if several and (layer != top or path != "h" or direction != "forward"):
            continue
        name = network if several else f"{module} layer {layer} {path}"
        name += f" {direction}" if direction != "forward" else ""
        name += f", {clip}" if clip != "none" else ""
        part = part.sort_values("lag")
        if np.isfinite(part["log10_norm"].iloc[0]):
            lines.setdefault(name, part)
    if len(lines) > len(LINE_COLOURS):  # of many layers the hidden states; the table and the file have all
        return {name: part for name, part in lines.items() if part["path"].iloc[0] == "h"}
    return lines


def reach_figure(flow: pd.DataFrame, foot: str) -> Figure:
    """log10 norm over lag, relative to lag 0: in full on the left, near the horizons on the right."""
    lines = lines_of(flow)
    with house_style():
        figure = Figure(figsize=(8.2, 4.3), layout="constrained")
        full, near = figure.subplots(1, 2, width_ratios=(1.15, 1))
        for k, (name, part) in enumerate(lines.items()):
            last = len(part) - 1
            evenly = np.linspace(0, last, 8) + k * last / 64
            _reach_line(full, part, k, name, evenly)
            _reach_line(near, part, k, name, np.geomspace(1, max(last, 1), 8) * 2 ** (k / 12))
        drawn = [
            np.asarray(line.get_ydata(), dtype=float)
            for line in full.get_lines()
            if line.get_marker() != "None"
        ]
        finite = np.concatenate([line[np.isfinite(line)] for line in drawn]) if drawn else np.zeros(1)
        low, high = min(finite.min(), -1.0), max(finite.max(), 1.0)
        margin = 0.06 * (high - low)
        full.set_ylim(low - margin, high + margin)
        near.set_ylim(max(NEAR[0], low - margin), NEAR[1] if high > NEAR[1] else high + margin)
        near.axhline(HORIZON, color="#555555", linewidth=0.8)
        if near.get_ylim()[0] < HORIZON:
            near.annotate(
                "horizon: 1/1000 of lag 0", (0, HORIZON), xycoords=("axes fraction", "data"),
                xytext=(3, -2), textcoords="offset points", ha="left", va="top", fontsize=7, color="#333333",
            )  # fmt: skip
        for panel, title in ((full, "all of it"), (near, "near the horizon")):
            panel.set_title(title, loc="left", fontsize=9)
            panel.set_xlabel("lag k (steps before the last)")
        full.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        near.set_xscale("log")
        near.set_xlim(left=1)
        near.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        near.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        near.xaxis.set_minor_locator(NullLocator())
        full.set_ylabel("log10 of gradient norm at lag k / at lag 0")
        handles, labels = full.get_legend_handles_labels()
        if flow["log10_bound"].notna().any():
            (bound,) = full.plot([], [], color="#333333", linestyle="--", linewidth=1)
            handles, labels = [*handles, bound], [*labels, r"bound $(\gamma\,\sigma_{\max})^k$, same colour"]
        figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=8)
        _foot(figure, foot)
    return figure


def _reach_line(panel: Axes, part: pd.DataFrame, k: int, name: str, marked: np.ndarray) -> None:
    """A line with markers at some lags, its bound dashed, and a ring at its horizon."""
    lag = part["lag"].to_numpy()
    start = part["log10_norm"].iloc[0]
    norm = part["log10_norm"].to_numpy() - start
    norm = np.where(np.isfinite(norm), norm, np.nan)
    colour, marker = LINE_COLOURS[k % len(LINE_COLOURS)], LINE_MARKERS[k % len(LINE_MARKERS)]
    panel.plot(
        lag,
        norm,
        color=colour,
        marker=marker,
        markerfacecolor=colour if k < len(LINE_COLOURS) else "white",
        markevery=sorted({round(float(k)) for k in marked if round(float(k)) < len(lag)}),
        markersize=4.5,
        linewidth=1.3,
        label=name,
    )
    bound = part["log10_bound"].to_numpy() - start
    if np.isfinite(bound).any():
        panel.plot(lag, bound, color=colour, linestyle="--", linewidth=1)
    reached = np.flatnonzero(norm >= HORIZON)
    if len(reached) and reached[-1] < len(lag) - 1:
        panel.plot(
            lag[reached[-1]],
            norm[reached[-1]],
            marker="o",
            markersize=9,
            markerfacecolor="none",
            markeredgecolor=colour,
            linestyle="none",
        )


def lengths_figure(lengths: pd.DataFrame, foot: str) -> Figure:
    """Parameters' and first step's gradient over T, a column per network; what float32 makes of it beside."""
    names = list(lengths["network"].unique())
    with house_style():
        figure = Figure(figsize=(max(2.25 * len(names) + 0.6, 5.2), 5.2), layout="constrained")
        panels = figure.subplots(2, len(names), squeeze=False, sharex=True)
        for j, name in enumerate(names):
            part = lengths[lengths["network"] == name]
            _length_panel(panels[0, j], part, "log10_parameters", "float32_parameters")
            unclipped = part[part["clip"] == part["clip"].iloc[0]]
            _length_panel(panels[1, j], unclipped, "log10_first", "float32_first")
            panels[0, j].set_title(name, loc="left", fontsize=9)
            panels[1, j].set_xlabel("sequence length T (steps)")
        panels[0, 0].set_ylabel("parameters: log10 of norm")
        panels[1, 0].set_ylabel("first step: log10 of norm")
        handles = {
            label: handle
            for panel in panels.flat
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        columns = 4 if len(names) > 2 else 2
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper center", ncols=columns, fontsize=8
        )
        _foot(figure, foot)
    return figure


def _length_panel(panel: Axes, part: pd.DataFrame, exact: str, plain: str) -> None:
    lengths = sorted(part["length"].unique())
    panel.set_xscale("log")
    for k, (clip, rows) in enumerate(part.groupby("clip", sort=False)):
        panel.plot(
            rows["length"],
            rows[exact].where(np.isfinite(rows[exact])),
            color=LINE_COLOURS[k % len(LINE_COLOURS)],
            marker=MARKERS[k % len(MARKERS)],
            linestyle=DASHES[k % len(DASHES)],
            markersize=4,
            linewidth=1.3,
            label="not clipped" if clip == "none" else f"clipped, {clip}",
        )
    _float32_marks(panel, part[part[f"has_{plain}"] & (part["problem"] == "")], exact, plain)
    panel.xaxis.set_major_locator(FixedLocator([float(length) for length in lengths]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.tick_params(axis="x", labelsize=7)
    panel.yaxis.set_major_locator(MaxNLocator(6))


def _float32_marks(panel: Axes, rows: pd.DataFrame, exact: str, plain: str) -> None:
    """A ring where plain float32 has a norm; a cross, and what it gives instead, where it has none."""
    fine = (rows[plain] > 0) & np.isfinite(rows[plain])
    panel.plot(
        rows["length"][fine], np.log10(rows[plain][fine]), linestyle="none", marker="o", markersize=8,
        markerfacecolor="none", markeredgecolor="#333333", label="plain float32",
    )  # fmt: skip
    failed = rows[~fine]
    if len(failed):
        panel.plot(
            failed["length"], failed[exact], linestyle="none", marker="x", markersize=9, color="#000000",
            label="plain float32 fails: as written",
        )  # fmt: skip
    low, high = panel.get_ylim()
    room = max(high - low, 1.0)
    panel.set_ylim(low - 0.1 * room, low + 1.16 * room)
    for row in failed.to_dict("records"):
        side = -1 if row[exact] < 0 else 1  # below a falling line, above a rising one
        panel.annotate(
            _word(row[plain]), (row["length"], row[exact]), xytext=(-6, 5 * side), textcoords="offset points",
            ha="right", va="bottom" if side > 0 else "top", fontsize=7,
        )  # fmt: skip


def _word(norm: float) -> str:
    return "0" if norm == 0 else "NaN" if math.isnan(norm) else "inf"


def layers_figure(flow: pd.DataFrame, foot: str) -> Figure:
    """Heat maps of log10 norm, layer by step, for networks with more than one layer; one panel per path."""
    shown = [
        (_layer_title(key, several=flow["module"].nunique() > flow["network"].nunique()), part)
        for key, part in flow[flow["clip"] == flow["clip"].iloc[0]].groupby(
            ["network", "module", "call", "path"], sort=False
        )
    ]
    layers = flow.groupby(["layer", "direction"]).ngroups
    columns = min(2, len(shown))
    rows = math.ceil(len(shown) / columns)
    with house_style():
        size = (4.2 * columns + 0.4, (0.9 + 0.16 * layers) * rows + 0.7)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for panel, (title, part) in zip(panels.flat, shown, strict=False):
            _heat_map(figure, panel, part)
            panel.set_title(title, loc="left", fontsize=9)
        for panel in panels.flat[len(shown) :]:
            panel.set_axis_off()
        _foot(figure, foot)
    return figure


def _layer_title(key: Any, several: bool) -> str:
    network, module, call, path = key
    place = f"{module}, " * several + f"call {call}, " * bool(call)
    return f"{network}, {place}{'hidden' if path == 'h' else 'cell'} state"


def _heat_map(figure: Figure, panel: Axes, part: pd.DataFrame) -> None:
    table = part.pivot_table(index=["layer", "direction"], columns="step", values="log10_norm", dropna=False)
    values = np.ma.masked_invalid(table.to_numpy())
    # cividis: made for colour-blind eyes, and its lightness grows evenly, so that grey keeps the order.
    image = panel.imshow(values, aspect="auto", origin="lower", cmap="cividis", interpolation="nearest")
    panel.set_facecolor("#dddddd")
    panel.grid(False)
    labels = [f"{layer}{' ←' if direction == 'reverse' else ''}" for layer, direction in table.index]
    panel.set_yticks(range(len(labels)), labels, fontsize=7)
    panel.set_ylabel("layer")
    panel.set_xlabel("step t")
    figure.colorbar(image, ax=panel, label="log10 of norm", pad=0.02)


def _foot(figure: Figure, foot: str) -> None:
    figure.supxlabel(foot, fontsize=7, color="#555555")
