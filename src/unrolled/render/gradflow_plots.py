"""Plots of a gradient-flow study, from its tidy frames: norm over lag, norm over length, layer by step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from unrolled.render.gradflow_titles import HORIZON, layers_title, lengths_title, reach_title, word
from unrolled.render.style import (
    DASHES,
    LINE_COLOURS,
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

if TYPE_CHECKING:
    import pandas as pd

NEAR = (-4.0, 1.5)  # decades shown where the horizons are
COLUMNS = 5  # networks beside each other over length
NORM = "log10 of gradient norm"


def draw_gradflow(
    flow: pd.DataFrame, lengths: pd.DataFrame, folder: Path, foot: str, note: str = "", untrained: bool = False
) -> list[Path]:
    """All plots into `folder`, as PNG and SVG; `foot` says what was measured where. Gives the paths.

    `note` says how the networks started out, `untrained` whether that is how they are.
    """
    paths: list[Path] = []
    if len(flow):
        paths += save(reach_figure(flow, foot, note, untrained), folder, "reach")
        deep = flow[flow.groupby("network")["layer"].transform("max") > 0]
        if len(deep):
            paths += save(layers_figure(deep, foot, note), folder, "layers")
    if len(lengths[lengths["problem"] == ""]):
        paths += save(lengths_figure(lengths, foot, note), folder, "lengths")
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


def reach_figure(flow: pd.DataFrame, foot: str, note: str = "", untrained: bool = False) -> Figure:
    """log10 norm over lag, relative to lag 0: in full on the left, near the horizons on the right."""
    lines = lines_of(flow)
    with house_style():
        figure = Figure(figsize=(8.2, 3.6), layout="constrained")
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
        bottom, top = low - margin, high + margin
        is_near = bottom < NEAR[0] or top > NEAR[1] + 1
        near.set_ylim(max(NEAR[0], bottom), NEAR[1] if top > NEAR[1] + 1 else top)
        near.axhline(HORIZON, color="#555555", linewidth=0.8, zorder=1)
        closer = "near the horizon" if is_near else "the same"
        for panel, title in ((full, "all lags"), (near, f"{closer}, over lag on a log scale")):
            title_panel(panel, title)
            panel.set_xlabel("lag k (steps before the last)")
        full.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        near.set_xscale("log")
        longest = max((len(part) - 1 for part in lines.values()), default=1)
        near.set_xlim(1, max(2.0, 1.15 * longest))
        near.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if longest < 2000 else (1,)))
        near.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        near.xaxis.set_minor_locator(NullLocator())
        full.set_ylabel(f"{NORM} at lag k / at lag 0\n(decades)")
        handles = labelled([full]) | _reach_key(flow, lines)
        return finish(figure, reach_title(lines, flow, untrained), note, foot, handles)


def _reach_key(flow: pd.DataFrame, lines: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Entries of the legend for what is no network: bounds, the horizon's rule, and the rings on it."""
    entries: dict[str, Any] = {}
    if flow["log10_bound"].notna().any():
        entries[r"its bound $(\gamma\,\sigma_{\max})^k$ in theory, same colour"] = Line2D(
            [], [], color="#333333", linestyle="--", linewidth=1
        )
    entries["1/1000 of lag 0"] = Line2D([], [], color="#555555", linewidth=0.8)
    rings = (
        part["log10_norm"].to_numpy()[-1] - part["log10_norm"].iloc[0] < HORIZON for part in lines.values()
    )
    if any(rings):
        entries["horizon: the last lag above that"] = Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=8,
            markerfacecolor="none",
            markeredgecolor="#333333",
        )
    return entries


def _reach_line(panel: Axes, part: pd.DataFrame, k: int, name: str, marked: np.ndarray) -> None:
    """A line with markers at some lags, its bound dashed, and a ring at its horizon."""
    lag = part["lag"].to_numpy()
    start = part["log10_norm"].iloc[0]
    norm = part["log10_norm"].to_numpy() - start
    norm = np.where(np.isfinite(norm), norm, np.nan)
    look = line_look(k)
    at_lags = sorted({round(float(lag)) for lag in marked if round(float(lag)) < len(norm)})
    panel.plot(lag, norm, **look, markevery=at_lags, markersize=4.5, linewidth=1.3, label=name)
    bound = part["log10_bound"].to_numpy() - start
    if np.isfinite(bound).any():
        panel.plot(lag, bound, color=look["color"], linestyle="--", linewidth=1)
    reached = np.flatnonzero(norm >= HORIZON)
    if len(reached) and reached[-1] < len(lag) - 1:
        panel.plot(
            lag[reached[-1]],
            norm[reached[-1]],
            marker="o",
            markersize=9,
            markerfacecolor="none",
            markeredgecolor=look["color"],
            linestyle="none",
        )


def lengths_figure(lengths: pd.DataFrame, foot: str, note: str = "") -> Figure:
    """Parameters' and first step's gradient over T, a column per network; what float32 makes of it beside."""
    names = list(lengths["network"].unique())
    columns = min(COLUMNS, len(names))
    tiers = math.ceil(len(names) / columns)
    width = max(2.25 * columns + 0.6, NARROWEST)
    with house_style():
        figure = Figure(figsize=(width, 4.2 * tiers), layout="constrained")
        panels = figure.subplots(2 * tiers, columns, squeeze=False, sharex=True)
        for panel in panels.flat:
            panel.set_axis_off()
        for k, name in enumerate(names):
            above, below = panels[2 * (k // columns), k % columns], panels[2 * (k // columns) + 1, k % columns]
            part = lengths[lengths["network"] == name]
            unclipped = part[part["clip"] == part["clip"].iloc[0]]
            room = width / columns - 0.7
            _length_panel(above, part, "log10_parameters", "float32_parameters", room)
            _length_panel(below, unclipped, "log10_first", "float32_first", room)
            title_panel(above, name)
            below.set_xlabel("sequence length T (steps)")
            below.tick_params(labelbottom=True)
            if k % columns == 0:
                above.set_ylabel(f"all parameters:\n{NORM}")
                below.set_ylabel(f"state at the first step:\n{NORM}")
        return finish(figure, lengths_title(lengths), f"{note} {_unmeasured(lengths)}".strip(), foot)


def _unmeasured(lengths: pd.DataFrame) -> str:
    """Where a network has no norm itself, by NaN, inf or an error of its own."""
    failed = lengths[lengths["problem"] != ""]
    said = [
        f"{network} from T = {part['length'].min()} on"
        for network, part in failed.groupby("network", sort=False)
    ]
    return (
        f"Nothing to measure, by NaN, inf or an error of the network itself: {', '.join(said)}." if said else ""
    )


def _length_panel(panel: Axes, part: pd.DataFrame, exact: str, plain: str, room: float) -> None:
    lengths = sorted(part["length"].unique())
    panel.set_axis_on()
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
    if not np.isfinite(part[exact]).any():
        said = "NaN or inf\nin the network itself" if (part["problem"] != "").all() else "the norm is 0"
        panel.text(0.5, 0.5, said, ha="center", va="center", transform=panel.transAxes, fontsize=8)
        panel.set_yticks([])
    places = room * np.log(lengths) / max(math.log(lengths[-1] / lengths[0]), 1e-9)
    named = spaced(lengths, list(places), 7)
    panel.xaxis.set_major_locator(FixedLocator([float(length) for length in named]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(FixedLocator([float(length) for length in lengths if length not in named]))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.tick_params(axis="x", labelsize=7)
    if np.isfinite(part[exact]).any():
        panel.yaxis.set_major_locator(MaxNLocator(6))


def _float32_marks(panel: Axes, rows: pd.DataFrame, exact: str, plain: str) -> None:
    """A ring where plain float32 has a norm; a cross, and what it gives instead, where it has none.

    Of crosses that follow each other with the same word the first one bears it.
    """
    fine = (rows[plain] > 0) & np.isfinite(rows[plain])
    panel.plot(
        rows["length"][fine], np.log10(rows[plain][fine]), linestyle="none", marker="o", markersize=8,
        markerfacecolor="none", markeredgecolor="#333333", label="norm by plain float32",
    )  # fmt: skip
    failed = rows[~fine & np.isfinite(rows[exact])]
    if len(failed):
        panel.plot(
            failed["length"], failed[exact], linestyle="none", marker="x", markersize=9, color="#000000",
            label="plain float32 fails, and gives what is written there",
        )  # fmt: skip
    low, high = panel.get_ylim()
    room = max(high - low, 1.0)
    panel.set_ylim(low - 0.1 * room, low + 1.16 * room)
    for _, line in failed.groupby("clip", sort=False):
        said = [word(norm) for norm in line[plain]]
        for k, row in enumerate(line.to_dict("records")):
            if k and said[k] == said[k - 1]:
                continue
            side = -1 if row[exact] < -0.5 else 1  # below a falling line, above a rising one
            panel.annotate(
                said[k], (row["length"], row[exact]), xytext=(-6, 5 * side), textcoords="offset points",
                ha="right", va="bottom" if side > 0 else "top", fontsize=7,
            )  # fmt: skip


def layers_figure(flow: pd.DataFrame, foot: str, note: str = "") -> Figure:
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
        size = (max(4.2 * columns + 0.4, NARROWEST), (0.9 + 0.16 * layers) * rows)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for panel, (title, part) in zip(panels.flat, shown, strict=False):
            _heat_map(figure, panel, part)
            title_panel(panel, title)
        for panel in panels.flat[len(shown) :]:
            panel.set_axis_off()
        grey = " Grey: the norm is exactly 0." if np.isinf(flow["log10_norm"]).any() else ""
        back = " ←: the direction that reads from the last step to the first."
        back = back if (flow["direction"] == "reverse").any() else ""
        return finish(figure, layers_title(flow), f"{note}{grey}{back}".strip(), foot)


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
    panel.set_xlabel("step t (the first is 0)")
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.colorbar(image, ax=panel, label="log10 of\ngradient norm", pad=0.02)
