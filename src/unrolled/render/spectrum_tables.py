"""The three tables of a spectrum study, from its tidy frames: exponents, directions that carry, gains."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import below, compact_table, fits
from unrolled.render.gradflow_tables import PARALLEL_NOTE
from unrolled.render.text import titled

if TYPE_CHECKING:
    import pandas as pd

IN_A_DECADE = {"nats": math.log(10), "decades": 1.0}
SHORT = {"mean field": "mean", "fixed point": "fix"}  # of theories, in a narrow terminal
FEW = 6  # lags in a narrow terminal
# Columns of the table of exponents that a screen may be too narrow for, step by step.
LEFT_OUT: tuple[set[str], ...] = (
    set(), {"spread", "sum", "dimension"}, {"spread", "sum", "dimension", "off"},
)  # fmt: skip
STYLES = {"forgetting": "blue", "neutral": "green", "chaotic": "red"}

SPECTRUM_NOTE = (
    "All logarithms here are nats (natural). Input: standard normal noise, or zero from a random state. Largest: "
    "by how much the direction that lasts longest grows with each step, ± the spread (standard deviation) over "
    "samples; neutral within 3 nats of 0 over all steps, chaotic above. Half-life: in how many steps it halves. Grow: "
    "how many of the n directions of the state grow. Sum: of all exponents; dimension: Kaplan-Yorke. Theory by "
    "fixed point: the eigenvalues where the network stands still; by mean field: of large random networks; off: "
    f"largest less theory. {PARALLEL_NOTE}"
)
CARRYING_NOTE = (
    "How many of the n directions in which the state can be moved still come out at 1/1000 or more of their "
    "size k steps later: singular values of the Jacobian over those steps, in the first sample. Largest: the "
    "logarithm of the largest one at the last k."
)
GAIN_NOTE = (
    "Gain: a factor on the recurrent weights that are named; Gaussian ones have variance 1/N at gain 1. Mean ± spread "
    "over networks and samples; theory: mean field, infinitely many units."
)


def spectrum_table(frame: pd.DataFrame, width: int, units: str = "") -> Group:
    """One row per network and input, or per system: exponents, what follows from them, and theory.

    Where `width` is short, without the spread, the sum and the dimension, and where it is shorter still without how far
    off theory is. What no row has is no column.
    """
    title = titled("Spectrum: Lyapunov exponents, nats per step", units)
    for left_out in LEFT_OUT:
        table = _spectrum_table(frame, left_out)
        if fits(table, width):
            break
    return below(title, table)


def _spectrum_table(frame: pd.DataFrame, left_out: set[str]) -> Table:
    rows = frame.to_dict("records")
    heads = {
        **{name: name for name in ("network", "input", "verdict", "largest")}, "spread": "±",
        "half-life": "half-\nlife,\nsteps", "grow": "grow", "size": "of n",
        **{name: name for name in ("sum", "dimension", "theory", "by", "off")},
        "parallel": "paral-\nlel",
    }  # fmt: skip
    wide = not left_out
    hidden = left_out | (
        set() if any(row["network"] for row in rows) else {"input"}
    )  # of a model in hand, which has its own
    hidden |= set() if any(row.get("theory_name") for row in rows) else {"theory", "by", "off"}
    hidden |= set() if any(row.get("parallel") for row in rows) else {"parallel"}
    shown = [name for name in heads if name not in hidden]
    table = compact_table("")
    for name in shown:
        left = name in ("network", "input", "verdict", "by", "parallel")
        table.add_column(heads[name], justify="left" if left else "right")
    before = ""
    for row in rows:
        name = row_label(row)
        cells = {"network": Text("" if name == before else name), "input": Text(row["drive"])}
        cells |= _spectrum_cells(row, wide)
        table.add_row(*(cells.get(name, Text("–")) for name in shown))
        before = name
    return table


def row_label(row: dict[str, Any]) -> str:
    """The network, or the layer, direction or stack where there is one network."""
    name: str = row["profile"] or row["network"]
    return name


def _spectrum_cells(row: dict[str, Any], wide: bool) -> dict[str, Text]:
    if row["problem"]:
        return {"verdict": Text("NaN/inf", style="bold red")}
    style = STYLES[row["dynamics"]]
    return {
        "verdict": Text(row["dynamics"], style=style),
        "largest": Text(nats(row["largest"]), style=style),
        "spread": Text(_spread(row["largest_spread"])),
        "half-life": Text(_half_life(row["half_life"])),
        "grow": Text(_count(row["above_zero"])),
        "size": Text(f"{row['size']:.0f}"),
        "sum": Text(_short(row["sum"])),
        "dimension": Text(_short(row["kaplan_yorke"])),
        "theory": Text(nats(row["theory"])),
        "by": Text(row["theory_name"] if wide else SHORT.get(row["theory_name"], ""), style="dim"),
        "off": Text(nats(row["difference"])),
        "parallel": Text(row["parallel"] or "–"),
    }


def nats(value: float) -> str:
    """An exponent: `-0.512`, `+0.143`, `0.000`; `-∞` for a direction that is lost for good."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "-∞" if value < 0 else "∞"
    shown = f"{value:+.3f}"
    return "0.000" if float(shown) == 0 else shown


def _spread(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _half_life(steps: float) -> str:
    return {0.0: "0", math.inf: "∞"}.get(steps) or text.significant(steps)


def _count(value: float) -> str:
    """A mean of whole numbers: `7`, `7.2`."""
    return "–" if math.isnan(value) else f"{value:.1f}".removesuffix(".0")


def _short(value: float) -> str:
    """One digit after the point below a hundred: `-12.3`, `-123`, `0`, `-∞`."""
    if not math.isfinite(value):
        return nats(value)
    shown = f"{value:.{0 if abs(value) >= 99.95 else 1}f}".removesuffix(".0")
    return "0" if shown == "-0" else shown


def carrying_table(frame: pd.DataFrame, width: int, units: str = "", base: str = "nats") -> Group:
    """One row per network and input: how many directions carry 1/1000 over how many steps.

    The largest singular value is given in `base`, nats or decades, as all else on that screen.
    """
    title = titled("Directions that carry 1/1000 after k steps", units)
    lags = sorted(frame["lag"].unique())
    table = _carrying_table(frame, lags, base)
    return below(title, table if fits(table, width) else _carrying_table(frame, _fitting(lags), base))


def _carrying_table(frame: pd.DataFrame, lags: list[int], base: str) -> Table:
    driven = bool((frame["network"] != "").any())
    table = compact_table("")
    table.add_column("network")
    if driven:
        table.add_column("input")
    table.add_column("of n", justify="right")
    for lag in lags:
        table.add_column(f"k={lag}", justify="right")
    table.add_column(f"largest,\n{base}", justify="right")
    before = ""
    for (network, drive, profile), part in frame.groupby(["network", "drive", "profile"], sort=False):
        name = row_label({"network": network, "profile": profile})
        by_lag = {row["lag"]: row for row in part.to_dict("records")}
        last = by_lag[max(by_lag)]
        size = last["size"]
        table.add_row(
            Text("" if name == before else name),
            *([Text(drive)] if driven else []),
            Text(f"{size}"),
            *(Text(_count(by_lag[lag]["carrying"] * size) if lag in by_lag else "–") for lag in lags),
            Text(_growth(last["log10_largest"] * IN_A_DECADE[base])),
        )
        before = name
    return table


def _fitting(lags: list[int]) -> list[int]:
    """At most six lags, first and last always among them."""
    if len(lags) <= FEW:
        return lags
    return sorted({lags[round(place * (len(lags) - 1) / (FEW - 1))] for place in range(FEW)})


def _growth(value: float) -> str:
    """A logarithm with a sign and one digit."""
    shown = f"{value:+.1f}"
    return nats(value) if not math.isfinite(value) else "0.0" if float(shown) == 0 else shown


def gain_table(gains: pd.DataFrame) -> Group:
    """One row per gain: measured and in theory, under each drive; empty where a part of a study has not come to it."""
    network = gains["network"].iloc[0]
    table = compact_table("")
    table.add_column("weights")
    drives = list(gains["drive"].unique())
    theory = gains["mean_field"].notna().any()
    for drive in drives:
        table.add_column(f"{drive},\nlargest", justify="right")
        table.add_column("±", justify="right")
        if theory:
            table.add_column("theory", justify="right")
    for gain, rows in gains.groupby("gain"):
        cells = [Text(at_gain(network, gain))]
        for drive in drives:
            found = [Text("")] * (3 if theory else 2)
            for row in rows[rows["drive"] == drive].to_dict("records"):
                found = [Text(nats(row["mean"])), Text(_spread(row["spread"]))]
                found += [Text(nats(row["mean_field"]), style="dim")] * bool(theory)
            cells += found
        table.add_row(*cells)
    return below(f"Largest exponent over gain, nats per step: {network}, untrained", table)


def at_gain(network: str, gain: float) -> str:
    """What weights are called that are so many times those of a network: `Gaussian, gain 1`; `gain 1.5, × 2`.

    `network` is named by its cell, how its weights start, and its size: `RNN tanh, Gaussian, 200 hidden units`.
    """
    start = ", ".join(network.split(", ")[1:-1])
    return f"{start}, × {gain:g}" if "gain" in start else f"{start or 'torch’s own'}, gain {gain:g}"
