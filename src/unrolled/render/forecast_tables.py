"""The tables of a forecast study: how training ended, what the gradients did, where to clip."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import below, compact_table, fits

if TYPE_CHECKING:
    import pandas as pd

SUGGESTION_NOTE = (
    "★ suggested. Percentiles of the norm before clipping; Pascanu, Mikolov, Bengio (2013) advise a bound from "
    "half to ten times the mean."
)
GRADIENT_NOTE = (
    "Global norm over all parameters; 90 %, 99 %: percentiles over iterations. Cosine: of the clipped gradient to the "
    "unclipped one, mean over iterations."
)
LOOP_NOTE = (
    "Closed loop: RMSE (root mean square error) over the steps after one true point, each prediction being the next "
    "input, begun with the hidden state that training left. Warmed up: the same after {warm_up} true points."
)
STYLES = {"converged": "green", "not converged": "yellow", "spiked": "magenta", "diverged": "red"}


def training_table(table: pd.DataFrame, width: int) -> Group:
    """One row per variant: how it ended, loss, its largest spike, closed loop or share recalled, time."""
    shown = _training_table(table, wide=True)
    return below(
        f"Training{_over_seeds(table)}", shown if fits(shown, width) else _training_table(table, wide=False)
    )


def _training_table(table: pd.DataFrame, wide: bool) -> Table:
    recalls = bool(table["accuracy"].notna().any())
    shown = compact_table("")
    shown.add_column("network")
    shown.add_column("clip")
    shown.add_column("ended")
    heads = [
        "final loss" if wide else "final\nloss",
        "largest spike,\n× loss before" if wide else "spike,\n× loss",
    ]
    if recalls:
        heads += ["symbols\nrecalled"]
    else:
        heads += ["closed loop,\nRMSE", "warmed up,\nRMSE"] if wide else ["loop,\nRMSE", "warm,\nRMSE"]
    for name in (*heads, "time"):
        shown.add_column(name, justify="right")
    for row in table.to_dict("records"):
        loops = [text.percent(row["accuracy"])] if recalls else [error(row["rmse"]), error(row["rmse_warm"])]
        shown.add_row(
            Text(row["network"]),
            Text(_clip(row)),
            _ended(row),
            Text(small(row["final_loss"])),
            Text(_times(row["largest_spike"])),
            *(Text(value) for value in loops),
            Text(text.seconds(row["seconds"])),
        )
    return shown


def gradient_table(table: pd.DataFrame) -> Group:
    """One row per variant: the norm before clipping, how often the clip fired, and the cosine it left."""
    shown = compact_table("")
    shown.add_column("network")
    shown.add_column("clip")
    for name in ("clip fired", "median", "90 %", "99 %", "largest", "cosine"):
        shown.add_column(name, justify="right")
    for row in table.to_dict("records"):
        clipped = row["clip"] != "none"
        shown.add_row(
            Text(row["network"]),
            Text(_clip(row)),
            Text(_share(row["fired"]) if clipped else "–"),
            *(Text(small(row[name])) for name in ("norm_median", "norm_p90", "norm_p99", "norm_max")),
            Text(f"{row['cosine']:.3f}" if clipped and math.isfinite(row["cosine"]) else "–"),
        )
    return below(f"Gradient norm before clipping{_over_seeds(table)}", shown)


def suggestion_table(frame: pd.DataFrame, first: int) -> Group:
    """One row per network and bound: what share of iterations a clip there would act in."""
    shown = compact_table("")
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
    return below(f"Where to clip, from the norms of the first {first} iterations", shown)


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
