"""A study of trainings: its tables, its frames, its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.forecast.outcome import DEFINITIONS
from unrolled.forecast.suggestion import FIRST, suggestions
from unrolled.render.forecast_summary import summary
from unrolled.render.forecast_tables import (
    LOOP_NOTE,
    SUGGESTION_NOTE,
    gradient_table,
    suggestion_table,
    training_table,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.forecast.study import Study


def show(study: Study, screen: Console, suggest: bool = False) -> None:
    """The tables and what they amount to; with `suggest`, also where one could clip."""
    table = study.table_frame()
    screen.print(training_table(table, screen.width))
    screen.print(DEFINITIONS, style="dim")
    if table["rmse"].notna().any():
        screen.print(LOOP_NOTE.format(warm_up=study.runs[0].setting.warm_up), style="dim")
    screen.print()
    screen.print(gradient_table(table, screen.width))
    screen.print()
    if suggest:
        screen.print(suggestion_table(suggestions(study.history_frame()), FIRST))
        screen.print(SUGGESTION_NOTE, style="dim")
        screen.print()
    screen.print(summary(table, study.runs_frame(), study.reach_frame()))


def frames(study: Study) -> dict[str, pd.DataFrame]:
    """A row per run, per iteration, per point of the closed loop, and per step of the reach."""
    return {
        "runs": study.runs_frame(),
        "history": study.history_frame(),
        "closed_loop": study.loop_frame(),
        "reach": study.reach_frame(),
    }


def draw(study: Study, folder: Path) -> list[Path]:
    """Loss, norms, predictions and reach."""
    from unrolled.render.forecast_plots import draw_forecast

    foot = f"{study.runs[0].setting.describe()}\n{study.environment.describe()}"
    return draw_forecast(study.history_frame(), study.loop_frame(), study.reach_frame(), folder, foot)
