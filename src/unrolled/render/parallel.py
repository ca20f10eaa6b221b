"""Whether networks can be run in parallel over time: the words, the tables, the frames, the plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render.parallel_summary import answer, summary
from unrolled.render.parallel_tables import note, parallel_tables

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.over_time.record import Parallel

__all__ = ["answer", "draw", "frames", "line", "show"]


def line(study: Parallel) -> str:
    """What the answer comes to, and what of."""
    lengths = ", ".join(map(str, study.lengths))
    return f"{answer(study).split(';')[0].rstrip('.')}; T = {lengths}, tolerance {study.tolerance:g}"


def show(study: Parallel, screen: Console, explain: bool = False) -> None:
    """The table and what it amounts to; with `explain` also what its columns mean."""
    for table in parallel_tables(study, screen.width):
        screen.print(table)
        screen.print()
    if explain:
        screen.print(note(study), style="dim", markup=False)
        screen.print()
    for said in summary(study):
        screen.print(said, markup=False)


def frames(study: Parallel) -> dict[str, pd.DataFrame]:
    """A row per network, kind of Jacobian and length, and per network."""
    return {"iterations": study.iterations_frame(), "networks": study.networks_frame()}


def draw(study: Parallel, folder: Path) -> list[Path]:
    """Iterations over the length, and over the exponent."""
    from unrolled.render.parallel_plots import exponent_figure, lengths_figure
    from unrolled.render.style import save

    paths = save(lengths_figure(study), folder, "iterations")
    return paths + save(exponent_figure(study), folder, "exponent")
