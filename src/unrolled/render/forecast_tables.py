"""The tables of a forecast study: how training ended, what the gradients did, where to clip."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import compact_table

if TYPE_CHECKING:
    import pandas as pd

SUGGESTION_NOTE = (
    "★ suggested. Percentiles of the norm before clipping; Pascanu, Mikolov, Bengio (2013) advise a bound from "
    "half to ten times the mean."
)
LOOP_NOTE = (
    "Closed loop: RMSE over the steps after one true point, each prediction being the next input, begun with "
    "the hidden state that training left. Warmed up: the same after {warm_up} true points."
)
STYLES = {"converged": "green", "not converged": "yellow", "spiked": "magenta", "diverged": "red"}
WIDE = 100  # columns from which there is room for longer heads


def training_table(table: pd.DataFrame, width: int) -> Table:
    """One row per variant: loss, its largest spike, closed loop or share recalled, time, and how it ended."""
    wide = width >= WIDE
    recalls = bool(table["accuracy"].notna().any())
    shown = compact_table("Training" + _over_seeds(table))
    shown.add_column("network")
    shown.add_column("clip")
    for name in ("final loss", "largest spike" if wide else "spike"):
        shown.add_column(name, justify="right")
    heads = ("recalled",) if recalls else ("closed loop", "warmed up") if wide else ("loop", "warm")
    for name in heads:
        shown.add_column(name, justify="right")
    shown.add_column("time", justify="right")
    shown.add_column("ended")
    for row in table.to_dict("records"):
        loops = [text.percent(row["accuracy"])] if recalls else [error(row["rmse"]), error(row["rmse_warm"])]
        shown.add_row(
            Text(row["network"]),
            Text(_clip(row)),
            Text(small(row["final_loss"])),
            Text(_times(row["largest_spike"])),
            *(Text(value) for value in loops),
            Text(text.seconds(row["seconds"])),
            _ended(row),
        )
    return shown


def gradient_table(table: pd.DataFrame, width: int) -> Table:
    """One row per variant: the norm before clipping, how often the clip fired, and the cosine it left."""
    title = "Gradient norm before clipping" + _over_seeds(table)
    shown = compact_table(title)
    shown.min_width = min(len(title), width)
    shown.add_column("network")
    shown.add_column("clip")
    for name in ("median", "p90", "p99", "max", "fired", "cosine"):
        shown.add_column(name, justify="right")
    for row in table.to_dict("records"):
        clipped = row["clip"] != "none"
        shown.add_row(
            Text(row["network"]),
            Text(_clip(row)),
            *(Text(small(row[name])) for name in ("norm_median", "norm_p90", "norm_p99", "norm_max")),
            Text(_share(row["fired"]) if clipped else "–"),
            Text(f"{row['cosine']:.3f}" if clipped and math.isfinite(row["cosine"]) else "–"),
        )
    return shown


def suggestion_table(frame: pd.DataFrame, first: int) -> Table:
    """One row per network and bound: what share of iterations a clip there would act in."""
    shown = compact_table(f"Where to clip, from the norms of the first {first} iterations")
    shown.add_column("network")
    shown.add_column("bound from")
    shown.add_column("--clip")
    for name in ("acts in the first", "in all"):
        shown.add_column(name, justify="right")
    for row in frame.to_dict("records"):
        style = "bold green" if row["suggested"] else ""
        shown.add_row(
            Text(row["network"]),
            Text(row["what"] + " ★" * row["suggested"], style=style),
            Text(f"norm:{row['bound']:.3g}", style=style),
            Text(_share(row["share_first"])),
            Text(_share(row["share_all"])),
        )
    return shown


def small(value: float) -> str:
    """Three digits: `0.000213` as `2.13e-4`, `1.32`, `4.1e+12` as `4.10e12`."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "inf"
    if value == 0 or 0.01 <= abs(value) < 1e4:
        return text.significant(value)
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def error(value: float) -> str:
    """An RMSE; one of a run that diverged may be anything."""
    return "–" if math.isnan(value) else "inf" if math.isinf(value) else small(value)


def _over_seeds(table: pd.DataFrame) -> str:
    seeds = int(table["seeds"].max())
    return f", medians over {seeds} seeds" if seeds > 1 else ""


def _clip(row: dict[str, Any]) -> str:
    return "–" if row["clip"] == "none" else str(row["clip"])


def _times(value: float) -> str:
    return small(value) if not math.isfinite(value) else f"{small(value)}×"


def _share(share: float) -> str:
    return "never" if share == 0 else "always" if share == 1 else text.percent(share)


def _ended(row: dict[str, Any]) -> Text:
    """The word, or how many seeds ended with which."""
    counts = {word: row[word] for word in STYLES if row[word]}
    if row["seeds"] == 1:
        return Text(word := next(iter(counts)), style=STYLES[word])
    parts = [Text(f"{count} {word}", style=STYLES[word]) for word, count in counts.items()]
    return Text(", ").join(parts)
