"""A sweep: its words, its table, its frames, its picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render.sweep_tables import note, sweep_tables
from unrolled.render.sweep_words import answer, summary
from unrolled.render.text import gist

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.sweep.record import Sweep

__all__ = ["answer", "draw", "frames", "line", "show"]


def line(sweep: Sweep) -> str:
    """What the answer comes to, and what of."""
    axes = ", ".join(map(str, sweep.axes))
    return f"{gist(answer(sweep))}; {sweep.job} over {axes}, {len(sweep.places)} of {sweep.grid.size} measured"


def show(sweep: Sweep, screen: Console, explain: bool = False) -> None:
    """The points and what they amount to; with `explain` also what their columns mean."""
    for table in sweep_tables(sweep, screen.width, explain):
        screen.print(table)
        screen.print()
    if explain:
        screen.print(note(sweep), style="dim")
        screen.print()
    for said in summary(sweep):
        screen.print(said, markup=False)


def frames(sweep: Sweep) -> dict[str, pd.DataFrame]:
    """A row per point and seed, a row per point, and the line of theory."""
    return {"sweep": sweep.frame(), "sweep_mean": sweep.mean_frame(), "theory": sweep.theory_frame()}


def draw(sweep: Sweep, folder: Path) -> list[Path]:
    """The picture; nothing where there is no number to draw."""
    from unrolled.render.sweep_plot import draw_sweep

    return draw_sweep(sweep, folder)
