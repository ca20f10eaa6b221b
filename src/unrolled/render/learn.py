"""What networks learned: the words, the tables, the frames, the plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render import text
from unrolled.render.learn_summary import answer, summary
from unrolled.render.learn_tables import learn_tables, note

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.learning.study import Learning

__all__ = ["answer", "draw", "frames", "line", "show"]


def line(study: Learning) -> str:
    """What the answer comes to, and what of."""
    return f"{text.gist(answer(study))}; {study.settings.describe()}, {study.units}"


def show(study: Learning, screen: Console, explain: bool = False) -> None:
    """The table and what it amounts to; with `explain` also what its columns mean."""
    for table in learn_tables(study, screen.width):
        screen.print(table)
        screen.print()
    if explain:
        screen.print(note(study), style="dim", markup=False)
        screen.print()
    for said in summary(study):
        screen.print(said, markup=False)


def frames(study: Learning) -> dict[str, pd.DataFrame]:
    """A row per training, per network and delay, per network, and per network and seed."""
    return {
        "trials": study.trials_frame(),
        "success": study.success_frame(),
        "networks": study.networks_frame(),
        "learners": study.learners_frame(),
    }


def draw(study: Learning, folder: Path) -> list[Path]:
    """Success over delay, and what was learned against what was predicted."""
    from unrolled.render.learn_plots import learned_figure, success_figure
    from unrolled.render.style import save

    paths = save(success_figure(study), folder, "success")
    return paths + save(learned_figure(study), folder, "learned")
