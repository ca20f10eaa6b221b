"""Advice that helped: the words, the table, the frames, a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from unrolled.advising.study import UNCHANGED
from unrolled.render import text
from unrolled.render.columns import Column, tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from rich.console import Console

    from unrolled.advising.study import Advice, Tried

NOTE = (
    "Reached: trainings that came to the goal. Iterations, loss: median over seeds, iterations of those that reached "
    "it. Better: seeds in which the change reached the goal where the unchanged training did not, or sooner, or came "
    "to a smaller loss. Share: of all seeds, in how many it would be better; 99 % interval (Clopper, Pearson 1934). A "
    "change is advised where so many seeds or more would be better by chance in at most 2 of 100 cases."
)


def answer(advice: Advice) -> str:
    """The one sentence."""
    if advice.diagnosis.is_healthy:
        return f"Nothing to advise: {_diagnosis(advice)}."
    if not advice.tried:
        return f"Nothing that could be tried: {_diagnosis(advice)}."
    if not advice.advised:
        return f"Nothing that was tried helped beyond chance: {_diagnosis(advice)}."
    first = advice.advised[0]
    return f"Advised: {first.change.describe()}, which {_helped(advice, first)}: {_diagnosis(advice)}."


def line(advice: Advice) -> str:
    """What the answer comes to, and what of."""
    return f"{text.gist(answer(advice))}; {advice.title}, {advice.goal}"


def _diagnosis(advice: Advice) -> str:
    """`the gradient vanishes, heard 11 steps back where 40 are needed`."""
    found = advice.diagnosis
    if found.problem:
        return f"the gradient cannot be followed, {found.problem}"
    needs = "" if found.needs is None else f" where {found.needs} are needed"
    heard = "nowhere" if found.hears is None else f"{found.hears} of {found.steps - 1} steps back"
    return f"before training the gradient is {found.word}, heard {heard}{needs}"


def _helped(advice: Advice, tried: Tried) -> str:
    """`helped in 10 of 10 seeds (99 %: 0.59 to 1.00)`."""
    share = advice.share(tried)
    interval = f"99 %: {share.low:.2f} to {share.high:.2f}"
    return f"helped in {advice.helped(tried)} of {len(tried.outcomes)} seeds ({interval})"


def summary(advice: Advice) -> list[str]:
    """The answer, and a line for each other change that helped; how many did not is said, not which."""
    more = [f"Also: {tried.change.describe()}, which {_helped(advice, tried)}." for tried in advice.advised[1:]]
    rest = len(advice.tried) - len(advice.advised)
    left = (
        [f"{text.counted(rest, 'other change')} did not help beyond chance."] if rest and advice.advised else []
    )
    return [answer(advice), *more, *left]


def show(advice: Advice, screen: Console, explain: bool = False) -> None:
    """The table of what helped, and what it amounts to; with `explain` also of what did not."""
    shown = list(advice.tried) if explain else advice.advised
    if shown:
        for table in advice_tables(advice, shown, screen.width):
            screen.print(table)
            screen.print()
    if explain:
        screen.print(NOTE, style="dim")
        screen.print()
    for said in summary(advice):
        screen.print(said, markup=False)


def advice_tables(advice: Advice, shown: list[Tried], width: int) -> list[Group]:
    """A row for the unchanged trainings, and one for each change."""
    frame = advice.trainings_frame()
    names = [UNCHANGED, *(tried.change.describe() for tried in shown)]
    parts = [frame[frame["change"] == name] for name in names]
    reached = [part[part["reached"]] for part in parts]
    better = [Text(""), *(Text(f"{advice.helped(tried)}", style=_style(advice, tried)) for tried in shown)]
    worse = [Text(""), *(Text(f"{advice.harmed(tried)}", style="dim") for tried in shown)]
    shares = [advice.share(tried) for tried in shown]
    interval = [Text(""), *(Text(f"{share.low:.2f}–{share.high:.2f}", style="dim") for share in shares)]
    counts = [
        Column(
            "reached", [Text(f"{len(some)} of {len(part)}") for some, part in zip(reached, parts, strict=True)]
        ),
        Column("iterations", [Text(f"{p['iterations'].median():.0f}" if len(p) else "–") for p in reached]),
        Column("loss", [Text(f"{part['loss'].median():.3g}") for part in parts]),
    ]
    compared = [Column("better", better), Column("worse", worse), Column("share, 99 %", interval)]
    left = [Column("change", [Text(name) for name in names], left=True)]
    return tables(f"{advice.title}: {advice.goal}", "", left, [counts, compared], width)


def _style(advice: Advice, tried: Tried) -> str:
    return "green" if advice.is_advised(tried) else ""


def frames(advice: Advice) -> dict[str, pd.DataFrame]:
    """A row per training, and per change."""
    return {"trainings": advice.trainings_frame(), "changes": advice.changes_frame()}


def draw(advice: Advice, folder: Path) -> list[Path]:
    """What each training came to; nothing where none was made."""
    if not advice.tried:
        return []
    from matplotlib.figure import Figure

    from unrolled.render.style import finish, house_style, labelled, save

    with house_style():
        groups = 1 + len(advice.tried)
        figure = Figure(figsize=(6.6, 0.7 + 0.5 * groups), layout="constrained")
        panel = figure.subplots()
        draw_losses(advice, panel)
        note = "A mark for each seed, filled where it reached the goal, and a bar at their median."
        finish(figure, answer(advice), note, advice.describe(), labelled([panel]))
    return save(figure, folder, "advice")


def draw_losses(advice: Advice, panel: Axes) -> None:
    """The last loss of every training, a row for the unchanged and for each change."""
    import numpy as np

    from unrolled.render.style import COLOURS

    frame = advice.trainings_frame()
    names = list(dict.fromkeys(frame["change"]))[::-1]
    finite = frame["loss"][np.isfinite(frame["loss"]) & (frame["loss"] > 0)]
    ends = (float(finite.min()), float(finite.max())) if len(finite) else (0.1, 1.0)
    beyond = 3 * ends[1]
    for y, name in enumerate(names):
        part = frame[frame["change"] == name]
        x = part["loss"].where(np.isfinite(part["loss"]) & (part["loss"] > 0) & (part["problem"] == ""), beyond)
        places = y + np.linspace(-0.25, 0.25, len(part)) if len(part) > 1 else np.array([float(y)])
        for reached, colour in ((True, COLOURS[0]), (False, "none")):
            mine = (part["reached"] == reached).to_numpy()
            panel.plot(
                x[mine], places[mine], linestyle="", marker="o", markersize=5, markerfacecolor=colour,
                markeredgecolor=COLOURS[0], label="reached the goal" if reached else "did not",
            )  # fmt: skip
        panel.plot([x.median()] * 2, [y - 0.35, y + 0.35], color="#000000", linewidth=1.6, label="median")
    if (frame["problem"] != "").any() or not np.isfinite(frame["loss"]).all():
        panel.axvline(beyond, color="#555555", linewidth=0.9, linestyle=":", label="NaN or inf")
    panel.set_xscale("log")
    panel.set_xlim(0.6 * ends[0], 1.5 * beyond)
    panel.set_yticks(range(len(names)), names)
    panel.set_xlabel("loss at the end")
    panel.grid(False, axis="y")
