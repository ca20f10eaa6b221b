"""A benchmark run: its tables, its frame, its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render.speed_plots import draw_speed
from unrolled.render.speed_summary import summary
from unrolled.render.speed_tables import speed_tables

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.speed.run import Run

WHOLE = ("saved_bytes", "peak_bytes")  # numbers that may be missing and are whole where they are not


def show(run: Run, screen: Console) -> None:
    """The tables and what they amount to."""
    frame = run.frame()
    for table in speed_tables(frame, screen.width):
        screen.print(table)
        screen.print()
    screen.print(summary(frame))


def frames(run: Run) -> dict[str, pd.DataFrame]:
    """A row per benchmark."""
    return {"bench": run.frame().astype(dict.fromkeys(WHOLE, "Int64"))}


def draw(run: Run, folder: Path) -> list[Path]:
    """Times and ratios."""
    return draw_speed(run.frame(), folder, run.environment.describe())
