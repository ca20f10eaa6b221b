"""A study of gradient flow: its words, its tables, its frames, its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render import gradflow_summary
from unrolled.render.gradflow_tables import LENGTH_NOTE, REACH_NOTE, length_table, reach_table
from unrolled.render.sensitivity import (
    SENSITIVITY_NOTE,
    hard_to_train,
    sensitivity_figure,
    sensitivity_table,
)
from unrolled.render.starts import start_note, untrained
from unrolled.render.text import gist

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.gradients.study import Study


def answer(study: Study) -> str:
    """The one sentence."""
    return gradflow_summary.answer(study.reach_frame())


def line(study: Study) -> str:
    """What the answer comes to, and what of."""
    steps = max((profile.steps for reach in study.reaches for profile in reach.flow or ()), default=0)
    return f"{gist(answer(study))}; {study.networks[0].sizes}, T = {steps}"


def show(study: Study, screen: Console, explain: bool = False) -> None:
    """Both tables and what they amount to; with `explain` also what their columns mean."""
    reach, over_length = study.reach_frame(), study.lengths_frame()
    screen.print(reach_table(reach, screen.width, study.units))
    if explain:
        screen.print(f"{start_note(study.networks)} {REACH_NOTE}".strip(), style="dim")
    screen.print()
    if len(moved := study.sensitivity_rows()):
        screen.print(sensitivity_table(moved, study.units))
        if explain:
            screen.print(SENSITIVITY_NOTE, style="dim")
        screen.print()
    if len(over_length):
        screen.print(length_table(over_length, study.units))
        if explain:
            screen.print(LENGTH_NOTE, style="dim")
        screen.print()
    screen.print(gradflow_summary.summary(reach, over_length, explain))
    for said in hard_to_train(moved):
        screen.print(said, markup=False)


def frames(study: Study) -> dict[str, pd.DataFrame]:
    """Every norm at every step, how far states move with their weights, and norms over length."""
    return {
        "flow": study.flow_frame(),
        "sensitivity": study.sensitivity_frame(),
        "lengths": study.lengths_table(),
    }


def draw(study: Study, folder: Path) -> list[Path]:
    """Reach, layers and lengths, and how far states move with their weights."""
    from unrolled.render.gradflow_plots import draw_gradflow
    from unrolled.render.style import save

    foot, note = study.describe(), start_note(study.networks)
    paths = draw_gradflow(
        study.flow_frame(), study.lengths_frame(), folder, foot, note, untrained(study.networks)
    )
    moved = study.sensitivity_frame()
    figure = sensitivity_figure(moved, foot, note) if len(moved) else None
    return paths + (save(figure, folder, "sensitivity") if figure is not None else [])
