"""A benchmark run: its words, its tables, its frames, its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render import speed_summary
from unrolled.render.network_tables import network_lines, network_tables
from unrolled.render.relative_tables import relative_tables
from unrolled.render.speed_tables import SPEED_NOTE, speed_tables
from unrolled.render.text import counted, gist
from unrolled.render.why_grid import ladder_tables
from unrolled.render.why_words import tried_lines
from unrolled.speed.relative import relative_frame

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.speed.run import Run

WHOLE = ("saved_bytes", "peak_bytes")  # numbers that may be missing and are whole where they are not


def answer(run: Run, as_: str = "ratio") -> str:
    """The one sentence."""
    return speed_summary.answer(run.frame(), as_)


def line(run: Run) -> str:
    """What the answer comes to, and what of."""
    return f"{gist(answer(run))}; {counted(len(run.results), 'benchmark')}, {run.environment.cpu}"


def show(run: Run, screen: Console, as_: str = "ratio", explain: bool = False) -> None:
    """The tables and what they amount to; `as_` is one of `speed_reading.QUANTITIES`.

    With `explain` also what the columns mean, and how sure all of it is.
    """
    frame = run.frame()
    tables = speed_tables(frame, screen.width, as_)
    tables += relative_tables(relative_frame(run.raced), screen.width, as_)
    tables += network_tables(run.network_frame(), screen.width, as_)
    for table in [*tables, *ladder_tables(run.raced, frame, screen.width)]:
        screen.print(table)
        screen.print()
    if explain:
        screen.print(SPEED_NOTE, style="dim")
        screen.print()
    screen.print(speed_summary.summary(frame, run.during, as_, explain))
    for said in (*network_lines(run.network_frame(), as_), *_advice(run)):
        screen.print(said, markup=False)


def _advice(run: Run) -> list[str]:
    """What was tried on the workload that took longest, if anything was."""
    if not run.tried:
        return []
    first = run.tried[0]
    of = f"{first.workload.label} {first.phase}, {counted(first.threads, 'thread')}"
    said = tried_lines(run.helped) or ["Nothing that was tried made fused faster."]
    return [f"On what took longest, {of}:", *said]


def frames(run: Run) -> dict[str, pd.DataFrame]:
    """A row per benchmark; where threads, dtypes or layouts have several values, each against the first one.

    Other networks have a table of their own.
    """
    return {
        "bench": run.frame().astype(dict.fromkeys(WHOLE, "Int64")),
        "relative": relative_frame(run.raced),
        "networks": run.network_frame(),
    }


def draw(run: Run, folder: Path, as_: str = "ratio") -> list[Path]:
    """Ratios, and times over each axis with several values; nothing where nothing was timed."""
    from unrolled.render.speed_plots import draw_speed

    environment = run.environment
    foot = environment.describe()
    if len({result.threads for result in run.results}) > 1:
        foot = foot.replace(f"{environment.threads} thread{'s' * (environment.threads != 1)}, ", "")
    if run.during is not None and run.during.is_busy:
        foot += f" · busy machine: {run.during}"
    return draw_speed(run.frame(), folder, foot, as_)
