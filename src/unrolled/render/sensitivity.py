"""How far states move with their weights: a table, the networks that are hard to train by it, a plot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import below, compact_table
from unrolled.render.gradflow_tables import decades
from unrolled.render.text import titled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

STEEP = 1.0  # decades of growth from which on a steady network is called hard to train
SENSITIVITY_NOTE = (
    "Weights: log10 of the Frobenius norm of d h_t / d theta after t steps, theta all weights and biases of the layer, "
    "RMS over samples. Growth: from t = 10 to the end. Error: 99 %, of an estimate from random changes of the weights. "
    "What grows makes the loss sharper with every step, however steady the gradient over lags."
)


def sensitivity_table(rows: pd.DataFrame, units: str = "") -> Group:
    """One row per network, or per layer of the only one: log10 norm by step, its growth, and its error."""
    steps = sorted(int(name.removeprefix("step ")) for name in rows if name.startswith("step "))
    table = compact_table("")
    table.add_column("network" if not rows["layer"].any() else "layer")
    for step in steps:
        table.add_column(f"t={step}", justify="right")
    for heading in ("growth,\ndecades", "error,\ndecades", "weights"):
        table.add_column(heading, justify="right")
    for row in rows.to_dict("records"):
        table.add_row(
            Text(row["layer"] or row["network"]),
            *(Text(decades(row.get(f"step {step}", math.nan))) for step in steps),
            Text(decades(row["growth"])),
            Text(_error(row), style="dim"),
            Text(f"{row['parameters']:,}"),
        )
    return below(titled("Weights: log10 of |d h_t / d theta| after t steps", units), table)


def _error(row: dict[str, Any]) -> str:
    if not row["above"]:
        return "exact"
    return f"−{row['below']:.2f} +{row['above']:.2f}"


def hard_to_train(rows: pd.DataFrame) -> list[str]:
    """A line for each network that is steady over lags while its states move ever farther with its weights."""
    if rows.empty:
        return []
    found = rows[(rows["verdict"] == "steady") & (rows["growth"] >= STEEP)]
    return [
        f"{row['layer'] or row['network']} is steady and yet hard to train: a change of its weights moves "
        f"h_{row['steps']} {text.significant(10 ** row['growth'])} times as far as h_10."
        for row in found.to_dict("records")
    ]


def sensitivity_title(frame: pd.DataFrame) -> str:
    """By how much it grows over all steps, as a sentence."""
    lines = _lines(frame)
    last = {name: _growth(part) for name, part in lines.items()}
    most = max(last, key=lambda name: last[name])
    least = min(last, key=lambda name: last[name])
    others = f" and {_times(last[least])} in {least}" if least != most else ""
    grows = "From the first step to the last, what a change of the weights does to the state grows"
    return f"{grows} {_times(last[most])} in {most}{others}"


def _times(growth: float) -> str:
    return f"{text.significant(10**growth)} times" if abs(growth) < 4 else f"10^{growth:.0f} times"


def _growth(part: pd.DataFrame) -> float:
    return float(part["log10_norm"].iloc[-1] - part["log10_norm"].iloc[0])


def _lines(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A line for each network's last layer, or for every layer of the only network."""
    several = frame["network"].nunique() > 1
    found: dict[str, pd.DataFrame] = {}
    for (network, layer, direction), part in frame.groupby(["network", "layer", "direction"], sort=False):
        top = frame.loc[frame["network"] == network, "layer"].max()
        if several and (layer != top or direction != "forward"):
            continue
        name = str(network) if several else f"layer {layer}{'' if direction == 'forward' else f' {direction}'}"
        found.setdefault(name, part)
    return {name: part for name, part in found.items() if np.isfinite(part["log10_norm"]).all()}


def sensitivity_figure(frame: pd.DataFrame, foot: str, note: str = "") -> Figure | None:
    """log10 norm over the step, on a log axis, with the band of its error; None where there is nothing finite."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from unrolled.render.style import finish, house_style, labelled, line_look

    if not (lines := _lines(frame)):
        return None
    with house_style():
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        axes = figure.subplots()
        for k, (name, part) in enumerate(lines.items()):
            look, last = line_look(k), len(part)
            marked = sorted({round(float(t)) - 1 for t in np.geomspace(1, last, 7) * 2 ** (k / 12)})
            axes.plot(
                part["step"], part["log10_norm"], **look, markersize=4.5, linewidth=1.3, label=name,
                markevery=[t for t in marked if t < last],
            )  # fmt: skip
            axes.fill_between(
                part["step"],
                part["log10_low"],
                part["log10_high"],
                color=look["color"],
                alpha=0.12,
                linewidth=0,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("step t")
        axes.set_ylabel(r"log10 of $\|\partial h_t / \partial \theta\|$")
        shade = (
            " Shaded: 99 %, of an estimate from random changes of the weights."
            if (frame["draws"] > 0).any()
            else ""
        )
        return finish(figure, sensitivity_title(frame), f"{note}{shade}".strip(), foot, labelled([axes]))
