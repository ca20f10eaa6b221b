"""The three tables of a spectrum study, from its tidy frames: exponents, directions that carry, gains."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import compact_table
from unrolled.render.text import INITIALISATION, titled

if TYPE_CHECKING:
    import pandas as pd

WIDE = 100  # columns from which there is room for words
STYLES = {"forgetting": "blue", "neutral": "green", "chaotic": "red"}

SPECTRUM_NOTE = (
    f"{INITIALISATION} "
    "Nats per step, ± the spread (standard deviation) over samples; half-life in steps. > 0: how many of n "
    "directions of the state grow; dimension: Kaplan-Yorke. Input: standard normal noise, or zero from a "
    "random state. Theory: fixed point, the eigenvalues where the network stands still; mean field, of large "
    "random networks."
)
CARRYING_NOTE = (
    "How many of the n directions in which the state can be moved still come out at 1/1000 or more of their "
    "size so many steps later: singular values of the Jacobian over those steps, in the first sample. Growth: "
    "log10 of the largest one at the last lag."
)
GAIN_NOTE = (
    "Gain: a factor on these recurrent weights; Gaussian ones have variance 1/N at gain 1. "
    "Nats per step, mean ± spread over networks and samples; theory: mean field, infinitely many units."
)


def spectrum_table(frame: pd.DataFrame, width: int, units: str = "") -> Table:
    """One row per network and input, or per system: exponents, what follows from them, and theory."""
    wide = width >= WIDE
    table = compact_table(titled("Spectrum: Lyapunov exponents", units))
    table.add_column("network")
    table.add_column("input")
    for name in ("largest", "±", "> 0") if wide else ("λ₁", "±", ">0"):
        table.add_column(name, justify="right")
    for name in ("n", "sum", "dimension", "half-life", "theory") if wide else ("n", "sum", "D", "t½", "theory"):
        table.add_column(name, justify="right")
    table.add_column("")
    table.add_column("difference" if wide else "diff", justify="right")
    before = ""
    for row in frame.to_dict("records"):
        name = row_label(row)
        table.add_row(Text("" if name == before else name), Text(row["drive"]), *_spectrum_cells(row, wide))
        before = name
    return table


def row_label(row: dict[str, Any]) -> str:
    """The network, or the layer, direction or stack where there is one network."""
    name: str = row["profile"] or row["network"]
    return name


def _spectrum_cells(row: dict[str, Any], wide: bool) -> list[Text]:
    if row["problem"]:
        return [Text("NaN/inf", style="bold red"), *[Text("–")] * 7, Text(""), Text("–")]
    letter = row["theory_name"] if wide else row["theory_name"][:1]
    return [
        Text(nats(row["largest"]), style=STYLES[row["dynamics"]]),
        Text(_spread(row["largest_spread"])),
        Text(_count(row["above_zero"])),
        Text(f"{row['size']:.0f}"),
        Text(_short(row["sum"])),
        Text(_short(row["kaplan_yorke"])),
        Text(_half_life(row["half_life"])),
        Text(nats(row["theory"])),
        Text(letter, style="dim"),
        Text(nats(row["difference"])),
    ]


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


def carrying_table(frame: pd.DataFrame, width: int, units: str = "") -> Table:
    """One row per network and input: how many directions carry 1/1000 over how many steps."""
    lags = _fitting(sorted(frame["lag"].unique()), width)
    table = compact_table(titled("Directions that still carry 1/1000, by lag", units))
    table.min_width = len(str(table.title))
    table.add_column("network")
    table.add_column("input")
    table.add_column("n", justify="right")
    for lag in lags:
        table.add_column(f"{lag}", justify="right")
    table.add_column("growth", justify="right")
    before = ""
    for (network, drive, profile), part in frame.groupby(["network", "drive", "profile"], sort=False):
        name = row_label({"network": network, "profile": profile})
        by_lag = {row["lag"]: row for row in part.to_dict("records")}
        last = by_lag[max(by_lag)]
        size = last["size"]
        table.add_row(
            Text("" if name == before else name),
            Text(drive),
            Text(f"{size}"),
            *(Text(_count(by_lag[lag]["carrying"] * size) if lag in by_lag else "–") for lag in lags),
            Text(_power(last["log10_largest"])),
        )
        before = name
    return table


def _fitting(lags: list[int], width: int) -> list[int]:
    """At most six lags where the terminal is narrow, first and last always among them."""
    most = 8 if width >= WIDE else 6
    if len(lags) <= most:
        return lags
    return sorted({lags[round(place * (len(lags) - 1) / (most - 1))] for place in range(most)})


def _power(log10: float) -> str:
    """A log10 with a sign and one digit."""
    return nats(log10) if not math.isfinite(log10) else f"{log10:+.1f}"


def gain_table(gains: pd.DataFrame) -> Table:
    """One row per gain: measured and in theory, under each drive; empty where a part of a study has not come to it."""
    table = compact_table(f"λ₁ over gain: {gains['network'].iloc[0]}")
    table.min_width = len(str(table.title))
    table.add_column("gain", justify="right")
    drives = list(gains["drive"].unique())
    theory = gains["mean_field"].notna().any()
    for drive in drives:
        table.add_column(drive, justify="right")
        table.add_column("±", justify="right")
        if theory:
            table.add_column("theory", justify="right")
    for gain, rows in gains.groupby("gain"):
        cells = [Text(f"{gain:g}")]
        for drive in drives:
            found = [Text("")] * (3 if theory else 2)
            for row in rows[rows["drive"] == drive].to_dict("records"):
                found = [Text(nats(row["mean"])), Text(_spread(row["spread"]))]
                found += [Text(nats(row["mean_field"]), style="dim")] * bool(theory)
            cells += found
        table.add_row(*cells)
    return table
