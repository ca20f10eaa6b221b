"""Why a loop is slower than the fused module: the words, the tables, the frames, a waterfall."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render import text
from unrolled.render.why_tables import WHY_NOTE, why_tables
from unrolled.render.why_words import answer, summary

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.speed.why.record import Why

__all__ = ["answer", "draw", "frames", "line", "show"]


def line(why: Why) -> str:
    """What the answer comes to, and what of."""
    threads = text.counted(why.results[0].threads, "thread")
    return f"{text.gist(answer(why))}; {why.workload.label} {why.phase}, {threads}"


def show(why: Why, screen: Console, explain: bool = False) -> None:
    """The tables and what they amount to; with `explain` also what their columns mean."""
    for table in why_tables(why, screen.width, explain):
        screen.print(table)
        screen.print()
    if explain:
        screen.print(WHY_NOTE, style="dim")
        screen.print()
    for said in summary(why):
        screen.print(said, markup=False)


def frames(why: Why) -> dict[str, pd.DataFrame]:
    """A row per change, per floor, per operation, per size of the model, and per thing that was tried."""
    return {
        "rungs": why.rungs_frame(),
        "floors": why.floors_frame(),
        "operations": why.operations_frame(),
        "sizes": why.sizes_frame(),
        "tries": why.advice_frame(),
    }


def draw(why: Why, folder: Path) -> list[Path]:
    """The waterfall; nothing where a rung got no time."""
    from unrolled.render.why_plot import waterfall

    return waterfall(why, folder) if why.is_whole else []
