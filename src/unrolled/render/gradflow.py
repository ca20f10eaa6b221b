"""A study of gradient flow: its tables, its frames, its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render.gradflow_summary import summary
from unrolled.render.gradflow_tables import LENGTH_NOTE, REACH_NOTE, length_table, reach_table

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.gradients.study import Study


def show(study: Study, screen: Console) -> None:
    """Both tables and what they amount to."""
    reach, over_length = study.reach_frame(), study.lengths_frame()
    screen.print(reach_table(reach, screen.width, study.units))
    screen.print(REACH_NOTE, style="dim")
    screen.print()
    if len(over_length):
        screen.print(length_table(over_length, study.units))
        screen.print(LENGTH_NOTE, style="dim")
        screen.print()
    screen.print(summary(reach, over_length))


def frames(study: Study) -> dict[str, pd.DataFrame]:
    """Every norm at every step, and over length."""
    return {"flow": study.flow_frame(), "lengths": study.lengths_table()}


def draw(study: Study, folder: Path) -> list[Path]:
    """Reach, layers and lengths."""
    from unrolled.render.gradflow_plots import draw_gradflow

    return draw_gradflow(study.flow_frame(), study.lengths_frame(), folder, study.describe())
