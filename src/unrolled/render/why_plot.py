"""The waterfall: from the time of a loop's step down to that of the fused module, a bar for each change."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unrolled.render import text
from unrolled.render.style import COLOURS, finish, house_style, save
from unrolled.render.why_words import answer, saved_s

if TYPE_CHECKING:
    from unrolled.speed.why.record import Why

WHOLE, SAVES, COSTS = "#555555", "#7fcdb0", COLOURS[5]  # of three lightnesses, for print
WIDTH, HEIGHT, LETTERS = 7.2, 3.4, 17
FLOORS = (("dispatch of cells", "--"), ("recurrent products", ":"))


def waterfall(why: Why, folder: Path) -> list[Path]:
    """`waterfall.png` and `waterfall.svg`."""
    with house_style():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        draw_waterfall(why, axes)
        workload = why.workload
        note = (
            f"{workload.label}, {why.phase}. Each bar is one thing changed; hatched "
            "ones cost time. Dashed and dotted: floors, each measured by itself."
        )
        finish(figure, title(why), note, why.environment.describe())
        return save(figure, folder, "waterfall")


def title(why: Why) -> str:
    """The answer, which no line breaks before a unit."""
    return answer(why).replace(" µs", "\u00a0µs")


def draw_waterfall(why: Why, axes: Axes) -> None:
    """Microseconds of a step: the loop, what each rung saves or costs, the fused module."""
    level = 1e6 * why.step_s(why.ladder[0].before_s)
    labels, top = ["a loop\nof cells"], level
    axes.bar(0, level, color=WHOLE, width=0.7, label="time of a step")
    _say(axes, 0, level, level)
    said = set()
    for k, rung in enumerate(why.ladder, 1):
        saved = 1e6 * saved_s(why, rung)
        low, high = sorted((level, level - saved))
        name = "saved" if saved >= 0 else "costs more"
        axes.bar(
            k, high - low, bottom=low, width=0.7, color=SAVES if saved >= 0 else COSTS,
            hatch="" if saved >= 0 else "//", edgecolor="white", label=None if name in said else name,
        )  # fmt: skip
        said.add(name)
        axes.plot([k - 1.35, k + 0.35], [level, level], color=WHOLE, linewidth=0.8)
        _say(axes, k, high, -saved)
        level -= saved
        top = max(top, high)
        labels.append(textwrap.fill(rung.change.what, LETTERS))
    last = len(labels)
    axes.plot([last - 1.35, last + 0.35], [level, level], color=WHOLE, linewidth=0.8)
    axes.bar(last, level, color=WHOLE, width=0.7)
    _say(axes, last, level, level)
    for name, dashes in FLOORS:
        if (floor := why.floor_s(name)) is not None:
            axes.axhline(1e6 * floor, color="black", linewidth=0.9, linestyle=dashes, label=f"floor: {name}")
    axes.set_xticks(range(last + 1), [*labels, "the fused\nmodule"], fontsize=8)
    axes.grid(False, axis="x")
    axes.set_ylim(0, 1.12 * top)
    axes.set_xlabel("one thing changed after the other")
    axes.set_ylabel("time of a step (µs)")


def _say(axes: Axes, x: float, y: float, value: float) -> None:
    """A number above a bar; of a change with its sign."""
    shown = text.significant(abs(value))
    axes.annotate(
        f"−{shown}" if value < 0 else shown, (x, y), (0, 3), textcoords="offset points", ha="center", fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip
