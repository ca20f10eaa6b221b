"""The two tables of a gradient-flow study, from its tidy frames: how far back, and over which lengths."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import below, compact_table, fits
from unrolled.render.text import titled

if TYPE_CHECKING:
    import pandas as pd

STYLES = {"vanishing": "blue", "steady": "green", "exploding": "red", "mixed": "yellow", "none": "dim"}
BLOCKS = "▁▂▃▄▅▆▇"  # an odd number, so that lag 0 stands in the middle
SPAN = 9  # decades above and below lag 0 that a sparkline can show
SHORT, LONG = 5, 16  # characters of a sparkline
TINY = 1e-5  # decades: a norm clipped to 1 is 1e-6 below it

PARALLEL_NOTE = (
    "Parallel over time: yes where Newton’s method over up to 200 steps at once, in the first sample, takes at most a "
    "tenth as many iterations, and how many; see unrolled parallel."
)
REACH_NOTE = (
    "All logarithms here are decades (log10). Norms k steps back are relative to that at the last step, k = 0. Slope: "
    "by how much the norm changes with each step back; half-life: in how many steps back it halves. Horizon: the "
    "largest k that is heard, which is to say with at least 1/1000 of the norm at the last step, + where the sequence "
    "ends first. Steady: at most 0.01 decades per step, and within 3 decades of the last step. Profile: k = 0 at the "
    f"left, {BLOCKS[0]} 1e-{SPAN} or less, {BLOCKS[-1]} 1e+{SPAN} or more. "
    f"{PARALLEL_NOTE}"
)
LENGTH_NOTE = (
    "First step: the gradient at the first hidden state, RMS over samples. Parameters: the global norm over all of "
    "them. float32: what autograd and torch.nn.utils report for the line above, also as log10, or zero, inf, NaN where "
    "they fail."
)


def reach_table(frame: pd.DataFrame, width: int, units: str = "") -> Group:
    """One row per network: log10 norm by lag, slope, half-life, horizon, verdict and the profile in small."""
    lags = sorted(int(name.removeprefix("lag ")) for name in frame if name.startswith("lag "))
    title = titled("Reach: log10 of relative gradient norm k steps back", units)
    table = _reach_table(frame, lags, LONG)
    few = _few(lags, 3 if _tried(frame) else 4)
    return below(title, table if fits(table, width) else _reach_table(frame, few, SHORT))


def _few(lags: list[int], most: int) -> list[int]:
    """At most so many lags, the last always among them."""
    return [*lags[: min(most - 1, len(lags) - 1)], lags[-1]] if lags else []


def _tried(frame: pd.DataFrame) -> bool:
    """Whether any of it was tried in parallel over time."""
    return "parallel" in frame and bool(frame["parallel"].fillna("").any())


def _reach_table(frame: pd.DataFrame, lags: list[int], columns: int) -> Table:
    """With so many columns for the profile."""
    wide, last = columns == LONG, max(lags, default=0)
    table = compact_table("")
    table.add_column("network")
    for lag in lags:
        table.add_column(f"k={lag}", justify="right")
    table.add_column("slope,\ndecades\nper step" if wide else "slope,\ndecades\n/step", justify="right")
    table.add_column("half-\nlife,\nsteps", justify="right")
    table.add_column("horizon,\nsteps" if wide else "hori-\nzon,\nsteps", justify="right")
    table.add_column("verdict")
    tried = _tried(frame)
    if tried:
        table.add_column("paral-\nlel")
    table.add_column(f"k = 0 to {last}" if wide else "")
    for row in frame.to_dict("records"):
        cells = _reach_cells(row, lags, columns)
        table.add_row(*(cells if tried else (*cells[:-2], cells[-1])))
    return table


def _reach_cells(row: dict[str, Any], lags: list[int], columns: int) -> list[Text]:
    name = Text(row_label(row))
    if row["problem"]:
        blanks = [Text("–")] * (len(lags) + 3)
        return [name, *blanks, Text("NaN or inf", style="bold red"), Text("–"), Text("")]
    horizon = "–" if math.isnan(row["horizon"]) else f"{row['horizon']:.0f}{'+' * row['horizon_is_censored']}"
    return [
        name,
        *(Text(decades(row.get(f"lag {lag}", math.nan))) for lag in lags),
        Text(decades(row["decades_per_step"], digits=3)),
        Text("∞" if row["half_life"] == math.inf else text.significant(row["half_life"])),
        Text(horizon),
        Text(row["verdict"], style=STYLES[row["verdict"]]),
        Text(row["parallel"] or "–"),
        Text(sparkline(row["line"], columns)),
    ]


def row_label(row: dict[str, Any]) -> str:
    """The network, or the profile where there is one network, and the clip where there is one."""
    name: str = row["profile"] or row["network"]
    return name if row["clip"] == "none" else f"{name}, {row['clip']}"


def decades(value: float, digits: int = 1) -> str:
    """A log10: `-12.3`, `+0.5`; a norm of exactly 0 is `-∞`."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "-∞" if value < 0 else "∞"
    shown = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if float(shown) == 0 else shown


def sparkline(line: list[float], columns: int) -> str:
    """Decades relative to lag 0, by lag, on one scale for all rows; a norm of exactly 0 is a gap."""
    last = len(line) - 1
    columns = min(columns, len(line))
    picked = [line[round(k * last / max(columns - 1, 1))] for k in range(columns)]
    return "".join(_block(value) for value in picked)


def _block(value: float) -> str:
    if math.isnan(value) or value == -math.inf:
        return " "
    share = (min(max(value, -SPAN), SPAN) + SPAN) / (2 * SPAN)
    return BLOCKS[round(share * (len(BLOCKS) - 1))]


def length_table(frame: pd.DataFrame, units: str = "") -> Group:
    """log10 norms over T, each line above what plain float32 reports in the same place."""
    lengths = sorted(frame["length"].unique())
    title = titled("Length: log10 of gradient norm over T steps", units)
    table = compact_table("")
    table.add_column("gradient at, or of")
    for length in lengths:
        table.add_column(f"T={length}", justify="right")
    for network, part in frame.groupby("network", sort=False):
        table.add_row(Text(str(network), style="bold"))
        for label, rows, exact, plain in _lines(part):
            by_length = {row["length"]: row for row in rows.to_dict("records")}
            table.add_row(Text(f" {label}"), *(_exact_cell(by_length[length], exact) for length in lengths))
            if rows[f"has_{plain}"].any():
                table.add_row(
                    Text("   float32", style="dim"),
                    *(_plain_cell(by_length[length][plain], exact) for length in lengths),
                )
    return below(title, table)


def _lines(part: pd.DataFrame) -> list[tuple[str, pd.DataFrame, str, str]]:
    """Label, rows, column of the log10, column of the plain float32 norm."""
    lines: list[tuple[str, pd.DataFrame, str, str]] = []
    for clip, rows in part.groupby("clip", sort=False):
        on_states = rows["on_states"].iloc[0]  # then it changes the gradient at the first step too
        if not lines and not on_states:
            lines.append(("first step", rows, "log10_first", "float32_first"))
        label = "parameters" if clip == "none" else f"parameters, {clip}"
        lines.append((label, rows, "log10_parameters", "float32_parameters"))
        if on_states:
            lines.append((f"first step, {clip}", rows, "log10_first", "float32_first"))
    return lines


def _exact_cell(row: dict[str, Any], name: str) -> Text:
    if row["problem"]:
        return Text("NaN/inf" if "finite" in row["problem"] else "failed", style="bold red")
    value = row[name]
    return Text(decades(0.0 if abs(value) < TINY else value))


def _plain_cell(norm: float, exact: str) -> Text:
    """A norm as its log10; what float32 could not hold as the word for it."""
    if norm == 0 or not math.isfinite(norm):
        return Text({0.0: "zero", math.inf: "inf"}.get(norm, "NaN"), style="bold red")
    value = math.log10(norm)
    return Text(decades(0.0 if abs(value) < TINY else value), style="dim")
