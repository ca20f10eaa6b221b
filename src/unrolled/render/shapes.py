"""The shapes of some networks: their words, their tables, their frames, a picture of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render.shapes_tables import parameter_table, shapes_note, shapes_table
from unrolled.render.text import counted

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.shapes.record import Shapes


def answer(shapes: Shapes) -> str:
    """The one sentence."""
    return shapes.summary().splitlines()[0]


def line(shapes: Shapes) -> str:
    """Whether all agree, and what there is."""
    odd = sum(not description.agrees for description in shapes.descriptions)
    said = f"{odd} differ from their loop" if odd else "modules and loops agree"
    first = shapes.descriptions[0]
    return (
        f"{said}; {counted(len(shapes.descriptions), 'configuration')}, input {first.input}, from {first.built}"
    )


def show(shapes: Shapes, screen: Console, explain: bool = False) -> None:
    """The tables, and what they amount to; with `explain` also what their columns mean."""
    frame, parameters = shapes.frame(), shapes.parameter_frame()
    screen.print(shapes_table(frame, parameters, screen.width))
    if explain:
        screen.print(shapes_note(frame), style="dim")
    screen.print()
    if frame["cell"].nunique() == 1:
        screen.print(parameter_table(parameters[parameters["configuration"] == frame["name"][0]]))
        screen.print()
    screen.print(shapes.summary())


def frames(shapes: Shapes) -> dict[str, pd.DataFrame]:
    """A row per configuration, and a row per parameter."""
    return {"shapes": shapes.frame(), "parameters": shapes.parameter_frame()}


def draw(shapes: Shapes, folder: Path) -> list[Path]:
    """A picture of each configuration, and one alone where all are forms of one network."""
    from unrolled.render.shapes_plots import draw_shapes

    frame = shapes.frame()
    names = list(frame["name"])
    alone = frame["cell"].nunique() == 1
    files = {names[0]: "unrolled"} if alone else {name: f"unrolled-{name}" for name in names}
    return draw_shapes(frame, shapes.parameter_frame(), files, folder)
