"""The ladders of a whole grid: a row per workload, and what each rung saves of a step."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import Block, Column, tables
from unrolled.render.speed_axes import at, places, row_axes
from unrolled.render.speed_tables import axis_columns
from unrolled.speed.why.ladder import rungs
from unrolled.speed.why.record import LOOP

if TYPE_CHECKING:
    import pandas as pd

    from unrolled.speed.result import Result
    from unrolled.speed.why.ladder import Rung

FIRST = "written_out"  # which is timed for nothing else


def ladder_tables(results: Sequence[Result], frame: pd.DataFrame, width: int) -> list[Group]:
    """A table per cell, phase, device and dtype whose rungs were timed; `frame` has a row for each of `results`."""
    of_loops = {result.race for result in results if result.implementation == LOOP and result.timed}
    has_both = [result.timed and result.race in of_loops for result in results]
    timed = frame[has_both]
    timed = timed[timed["implementation"] == FIRST]
    made = []
    for (cell, phase, device, dtype), part in timed.groupby(["cell", "phase", "device", "dtype"], sort=False):
        axes = row_axes(part)
        found = places(part, axes)
        races = [results[at(part, axes, place).index[0]].race for place in found]
        each = [[result for result in results if result.race == race] for race in races]
        title = f"{cell} · {phase} · {device} {dtype} · what each change saves of a step"
        made += tables(title, "", axis_columns(axes, found), _blocks(each), width)
    return made


def _blocks(races: Sequence[Sequence[Result]]) -> list[Block]:
    ladders = [[rung for rung in rungs(results) if rung.change.on_ladder] for results in races]
    steps = [results[0].workload.steps for results in races]
    first = [next(rung for rung in ladder if rung.change.before == "cells") for ladder in ladders]
    loop = [Text(text.seconds(rung.before_s / n)) for rung, n in zip(first, steps, strict=True)]
    blocks: list[Block] = [[Column("cells", loop)]]
    for name in dict.fromkeys(rung.change.after for ladder in ladders for rung in ladder):
        mine = [next((rung for rung in ladder if rung.change.after == name), None) for ladder in ladders]
        what = next(rung.change.what for rung in mine if rung is not None)
        blocks.append([Column(_folded(what), [_saved(rung, n) for rung, n in zip(mine, steps, strict=True)])])
    return blocks


def _saved(rung: Rung | None, steps: int) -> Text:
    """Seconds of a step; dim where the interval of the ratio has 1 in it."""
    if rung is None:
        return Text("–")
    saved = (rung.before_s - rung.after_s) / steps
    style = "green" if rung.ratio.high < 1 else "red" if rung.ratio.low > 1 else "dim"
    return Text(f"{'−' * (saved < 0)}{text.seconds(abs(saved))}", style=style)


def _folded(what: str) -> str:
    """In lines of about 16 letters: the head of a narrow column."""
    return "\n".join(textwrap.wrap(what, 16))
