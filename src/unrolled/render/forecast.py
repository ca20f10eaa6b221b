"""A study of trainings: its words, its tables, its frames, its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.forecast import motion
from unrolled.forecast.outcome import DEFINITIONS
from unrolled.forecast.suggestion import FIRST, suggestions
from unrolled.render import forecast_summary
from unrolled.render.forecast_exponents import EXPONENTS_NOTE, exponents_table, exponents_words
from unrolled.render.forecast_tables import (
    GRADIENT_NOTE,
    LOOP_NOTE,
    SUGGESTION_NOTE,
    gradient_table,
    suggestion_table,
    training_table,
)
from unrolled.render.text import counted, gist

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.forecast.study import Study


def answer(study: Study) -> str:
    """The one sentence."""
    return forecast_summary.answer(study.table_frame())


def line(study: Study) -> str:
    """What the answer comes to, and what of."""
    return f"{gist(answer(study))}; {counted(len(study.runs), 'run')}, {study.runs[0].setting.describe()}"


def show(study: Study, screen: Console, suggest: bool = False, explain: bool = False) -> None:
    """The tables and what they amount to; with `suggest`, also where one could clip.

    With `explain` also what the words and columns mean.
    """
    table = study.table_frame()
    screen.print(training_table(table, screen.width))
    if explain:
        screen.print(DEFINITIONS, style="dim")
        if table["rmse"].notna().any():
            screen.print(LOOP_NOTE.format(warm_up=study.runs[0].setting.warm_up), style="dim")
    screen.print()
    screen.print(gradient_table(table))
    if explain:
        screen.print(GRADIENT_NOTE, style="dim")
    screen.print()
    exponents = study.exponents_frame()
    if len(exponents):
        screen.print(exponents_table(exponents, study.truth, screen.width))
        if explain:
            known = f" The truth: {study.truth.source}." if study.truth else ""
            screen.print(f"{motion.DEFINITIONS} {EXPONENTS_NOTE}{known}", style="dim")
        screen.print()
    if suggest:
        screen.print(suggestion_table(suggestions(study.history_frame()), FIRST))
        if explain:
            screen.print(SUGGESTION_NOTE, style="dim")
        screen.print()
    screen.print(forecast_summary.summary(table, study.runs_frame(), study.reach_frame(), explain))
    if len(exponents):
        screen.print("\n".join(exponents_words(exponents, study.truth)))


def frames(study: Study) -> dict[str, pd.DataFrame]:
    """A row per run, per iteration, per point of the closed loop, per step of the reach, and per exponent if any."""
    exponents = study.exponents_frame()
    return {
        "runs": study.runs_frame(),
        "history": study.history_frame(),
        "closed_loop": study.loop_frame(),
        "reach": study.reach_frame(),
        **({"exponents": exponents} if len(exponents) else {}),
    }


def draw(study: Study, folder: Path) -> list[Path]:
    """Loss, norms, predictions, reach, and exponents if any."""
    from unrolled.render.forecast_exponents_plot import draw_exponents
    from unrolled.render.forecast_plots import draw_forecast

    foot = f"{study.runs[0].setting.describe()}\n{study.environment.describe()}"
    frames = (study.runs_frame(), study.history_frame(), study.loop_frame(), study.reach_frame())
    paths = draw_forecast(*frames, folder, foot)
    if len(exponents := study.exponents_frame()):
        paths += draw_exponents(*frames[:2], exponents, study.truth, folder, foot)
    return paths
