"""A study of learning as a table: seeds that learned each delay, beside horizons before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from unrolled.learning.statistics import SHARE
from unrolled.render.columns import Block, Column, tables

if TYPE_CHECKING:
    from unrolled.learning.study import Learning

STYLES = {"holds": "green", "too short": "red", "too long": "red"}


def note(study: Learning) -> str:
    """What the columns mean."""
    settings, rows = study.settings, study.networks_frame()
    coverage = int(100 * rows["coverage"].min())
    return (
        "Delays: how many seeds learned it, and all shorter ones. Learned: held-out loss at most a tenth of that of "
        f"the best answer that remembers nothing. By {100 * SHARE:.0f} %: the largest delay that at least so many "
        f"seeds learned, and an interval that holds that of all seeds in at least {coverage} of 100 studies. Horizon: "
        "the largest lag with at least 1/1000 of the gradient at lag 0, median over seeds, on sequences of "
        f"{settings.of.steps(settings.reach_delay)} steps, before training, and after it at the largest delay "
        "learned; ≥ where it is all of them. Predicted: holds if the horizon before is within a factor of 2 of the "
        "lags between which learning ends."
    )


def learn_tables(study: Learning, width: int) -> list[Group]:
    """One, or as many as the terminal takes."""
    success, rows = study.success_frame(), study.networks_frame()
    most = f"{100 * SHARE:.0f} %"
    blocks: list[Block] = [
        [Column(f"{delay}", [_seeds(row) for row in part.to_dict("records")])]
        for delay, part in success.groupby("delay", sort=False)
    ]
    found = rows.to_dict("records")
    blocks += [
        [
            Column(f"by {most}", [Text(f"{row['learned'] or '–'}", style="bold") for row in found]),
            Column("interval", [Text(f"{row['low']}–{row['high']}", style="dim") for row in found]),
        ],
        [
            Column("before", [_horizon(row, "before") for row in found]),
            Column("after", [_horizon(row, "after") for row in found]),
        ],
        [Column("predicted", [Text(row["prediction"], style=STYLES[row["prediction"]]) for row in found])],
    ]
    left = [Column("network", [Text(row["network"]) for row in found], left=True)]
    seeds = int(rows["seeds"].max())
    title = f"{study.settings.of.TITLE}; {study.units}: seeds of {seeds} that learned each delay, and horizons"
    return tables(title, "", left, blocks, width)


def _seeds(row: dict[str, int]) -> Text:
    if row["learned"] == row["seeds"]:
        return Text(f"{row['learned']}", style="green")
    return Text(f"{row['learned']}" if row["learned"] else "·", style="" if row["learned"] else "dim")


def _horizon(row: dict[str, object], when: str) -> Text:
    return Text(f"{'≥' if row[f'{when}_is_censored'] else ''}{row[when]:.0f}")
