"""The picture of an unrolled network: steps across, layers up, tensors with their shapes; from their frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from unrolled.render.shapes_layout import APART, BOX, DOTS, KEY, Point, Sheet
from unrolled.render.style import COLOURS, house_style, inches, save
from unrolled.render.text import counted

if TYPE_CHECKING:
    import pandas as pd

INK, DIM = "#222222", "#666666"
# Dashes tell the parts of the state from each other where colours do not: of torch's cells h and c.
PATHS: tuple[tuple[str, Any], ...] = (
    (COLOURS[0], "-"),
    (COLOURS[5], (0, (4, 1.5))),
    (COLOURS[2], (0, (1, 1.2))),
    (COLOURS[3], (0, (5, 1, 1, 1))),
)
NAMES = {"h": "hidden state h", "c": "cell state c"}


def draw_shapes(
    frame: pd.DataFrame,
    parameters: pd.DataFrame,
    files: dict[str, str],
    folder: Path,
    *,
    before: Callable[[str], object] = lambda name: None,
    after: Callable[[], object] = lambda: None,
) -> list[Path]:
    """A picture, as PNG and SVG, of every configuration that `files` has a file name for. Gives the paths.

    `before` is told which picture comes, `after` is called when it is there.
    """
    paths: list[Path] = []
    for row in frame[frame["name"].isin(list(files))].to_dict("records"):
        before(f"picture of {row['name']}")
        own = parameters[parameters["configuration"] == row["name"]]
        paths += save(unrolled_figure(row, own), folder, files[row["name"]])
        after()
    return paths


def unrolled_figure(row: dict[str, Any], parameters: pd.DataFrame) -> Figure:
    """The network of one row of the frame, with its parameters on the left."""
    labels = [len(name + shape) for name, shape in zip(parameters["name"], parameters["shape"], strict=True)]
    sheet = Sheet(row, labels=max(labels, default=0) + 1)
    with house_style():
        steps = f", unrolled over {counted(row['seq_len'], 'step')}" if row["form"] == "fused" else ""
        built, said, key = f"{row['built']}{steps}", _whole_tensors(row), _key(sheet)
        # What is written above and below may be wider than a short sequence is.
        widths = (inches(built, 10, "bold"), inches(said, 8), sum(inches(each, 7.5) + 0.65 for each, _ in key))
        width = max(sheet.width, 0.3 + max(widths))
        figure = Figure(figsize=(width, sheet.height))
        figure.set_label(built)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(0, sheet.height))
        axes.set_axis_off()
        axes.text(0.15, sheet.height - 0.16, built, va="top", fontsize=10, weight="bold", color=INK)
        axes.text(0.15, sheet.height - 0.4, said, va="top", fontsize=8, color=DIM)
        _explain(axes, key)
        _ends(axes, sheet)
        for layer in sheet.layers:
            if layer is None:
                _dots_between_layers(axes, sheet)
                continue
            for direction in range(sheet.directions):
                _track(axes, sheet, layer, direction)
                _weights(axes, sheet, layer, direction, parameters)
            _up(axes, sheet, layer)
    return figure


def _whole_tensors(row: dict[str, Any]) -> str:
    """What goes in and comes out of all steps together."""
    last = "h_n" if row["form"] == "fused" else "h"
    whole = [f"input {row['input']}", f"out {row['out']}"]
    whole += [f"{last.replace('h', part)} {row[part].replace(';', ' and')}" for part in row["states"].split()]
    return f"{', '.join(whole)}; {row['parameters']:,} parameters, the same at every step"


def _key(sheet: Sheet) -> list[tuple[str, str]]:
    """What lines and signs stand for: the words, and the part of the state that has such a line, or nothing."""
    entries = [(NAMES.get(path, f"part {path} of the state"), path) for path in sheet.paths]
    if sheet.both_ways:
        entries.append(("cat: both directions' outputs, side by side", ""))
    if None in sheet.steps or None in sheet.layers:
        entries.append(("…: like the ones beside them", ""))
    return entries


def _explain(axes: Axes, key: list[tuple[str, str]]) -> None:
    """The key, in a line at the bottom."""
    x, paths = 0.15, [path for _, path in key if path]
    for said, path in key:
        if path:
            colour, dashes = PATHS[paths.index(path) % len(PATHS)]
            axes.plot([x, x + 0.3], [KEY, KEY], color=colour, linestyle=dashes, linewidth=1.2)
            x += 0.36
        axes.text(x, KEY, said, va="center", fontsize=7.5, color=DIM)
        x += inches(said, 7.5) + 0.25


def _ends(axes: Axes, sheet: Sheet) -> None:
    """The inputs at the bottom and the outputs at the top."""
    step_of = "[:, t-1]" if sheet.row["batch_first"] else "[t-1]"
    for name, whole, y, va, shape in (
        ("x", "input", sheet.bottom, "top", sheet.shape(sheet.row["input_size"])),
        ("out", "out", sheet.top, "bottom", sheet.output(sheet.row["num_layers"] - 1)),
    ):
        said = f"{whole} {sheet.row[whole]}\n" + rf"$\mathregular{{{name}}}_t$ = {whole}{step_of}"
        axes.text(0.15, y, said, va=va, fontsize=8, color=INK, linespacing=1.3)
        for x, step in zip(sheet.x, sheet.steps, strict=True):
            said = "…" if step is None else rf"$\mathregular{{{name}}}_{{{step}}}$" + f"\n{shape}"
            axes.text(x, y, said, ha="center", va=va, fontsize=8.5, color=INK, linespacing=1.3)


def _track(axes: Axes, sheet: Sheet, layer: int, direction: int) -> None:
    """A layer in one direction: a box per step, and states carried from one to the next."""
    count = len(sheet.steps)
    order = range(count) if direction == 0 else range(count - 1, -1, -1)
    sign = 1 if direction == 0 else -1
    y = sheet.box(0, layer, direction)[1]
    first, last = (sheet.left, sheet.right)[::sign]
    for path in sheet.paths:
        at, look = y + sheet.offset(path), _look(sheet, path)
        start = first
        for k in order:
            middle = sheet.box(k, layer, direction)[0]
            half = 0.14 if sheet.steps[k] is None else BOX[0] / 2
            _arrow(axes, (start, at), (middle - sign * half, at), look)
            start = middle + sign * half
        _arrow(axes, (start, at), (last, at), look)
        for x, when in ((first, "0"), (last, "n" if sheet.row["form"] == "fused" else "T")):
            _state(axes, sheet, path, when, layer, direction, (x, at))
    for k, step in enumerate(sheet.steps):
        x, y = sheet.box(k, layer, direction)
        if step is None:
            axes.text(x, y, "…", ha="center", va="center", fontsize=11, color=INK)
        else:
            _box(axes, x, y, sheet.cell)


def _state(axes: Axes, sheet: Sheet, path: str, when: str, layer: int, direction: int, at: Point) -> None:
    """A first or last state: its name, its place in the stacked tensor, and its shape."""
    is_chain = "; " in sheet.row[path]
    place = direction if is_chain else layer * sheet.directions + direction
    index = f"[{place}]" if sheet.row["form"] == "fused" else ""
    said = rf"${path}_{when}$" + f"{index} {sheet.state(path, layer, direction)}"
    on_the_left = at[0] == sheet.left
    axes.text(
        at[0] + (-0.06 if on_the_left else 0.06), at[1], said, ha="right" if on_the_left else "left",
        va="center", fontsize=8, color=_look(sheet, path)[0],
    )  # fmt: skip


def _weights(axes: Axes, sheet: Sheet, layer: int, direction: int, parameters: pd.DataFrame) -> None:
    """Which layer it is, and its parameters with their shapes."""
    way = ("forward", "reverse")[direction]
    own = parameters[(parameters["layer"] == layer) & (parameters["direction"] == way)]
    lines = [f"{name} {shape}" for name, shape in zip(own["name"], own["shape"], strict=True)]
    y = sheet.box(0, layer, direction)[1]
    title = f"layer {layer}" + (f", {way}" if sheet.directions == 2 else "")
    top = y + 0.06 * (len(lines) + 1)
    axes.text(0.15, top, title, va="center", fontsize=8, weight="bold", color=INK)
    for k, line in enumerate(lines, start=1):
        axes.text(0.15, top - 0.13 * k, line, va="center", fontsize=6.5, color=INK)


def _up(axes: Axes, sheet: Sheet, layer: int) -> None:
    """What goes into the boxes of a layer from below, and what it hands up, at every step."""
    for k, step in enumerate(sheet.steps):
        if step is None:
            continue
        x, foot = sheet.x[k], sheet.foot(layer)
        if layer == 0:
            (_line if sheet.directions == 2 else _arrow)(axes, (x, sheet.bottom + 0.05), (x, foot))
        if sheet.directions == 2:
            for direction in range(2):
                aside, y = sheet.box(k, layer, direction)
                _line(axes, (x, foot), (aside, foot))
                _arrow(axes, (aside, foot), (aside, y - BOX[1] / 2))
        low, rim = sheet.joint(layer), sheet.above(layer)
        if sheet.directions == 2:
            for direction in range(2):
                aside, y = sheet.box(k, layer, direction)
                _line(axes, (aside, y + BOX[1] / 2), (aside, low))
            _line(axes, (x - APART, low), (x + APART, low))
            axes.text(x - APART - 0.05, low, "cat", ha="right", va="center", fontsize=7, color=DIM)
        arrives = sheet.directions == 1 or layer == sheet.layers[-1]
        (_arrow if arrives else _line)(axes, (x, low), (x, rim))
        if layer != sheet.layers[-1]:
            axes.text(x + 0.06, (low + rim) / 2, sheet.output(layer), va="center", fontsize=7, color=INK)


def _dots_between_layers(axes: Axes, sheet: Sheet) -> None:
    """The layers that are not drawn, and what they hand up to the last one."""
    start = sheet.y[None] + DOTS / 4
    draw = _arrow if sheet.directions == 1 else _line
    for x, step in zip(sheet.x, sheet.steps, strict=True):
        if step is not None:
            axes.text(x, sheet.y[None], "⋮", ha="center", va="center", fontsize=11, color=INK)
            draw(axes, (x, start), (x, sheet.foot(sheet.layers[-1])))


def _box(axes: Axes, x: float, y: float, said: str) -> None:
    width, height = BOX
    corner = (x - width / 2, y - height / 2)
    rounded = "round,pad=0,rounding_size=0.07"
    box = FancyBboxPatch(corner, width, height, boxstyle=rounded, fc="#f0f0f0", ec=INK, linewidth=1, zorder=3)
    axes.add_patch(box)
    size = min(8.5, 72 * width / (0.62 * len(said)))  # a long name is written smaller
    axes.text(x, y, said, ha="center", va="center", fontsize=size, color=INK, zorder=4)


def _line(axes: Axes, start: Point, end: Point) -> None:
    """A part of the way up; where it crosses a state it passes above, with a margin."""
    for colour, width, order in (("white", 5, 1.5), (INK, 1, 2)):
        axes.plot(*zip(start, end, strict=True), color=colour, linewidth=width, zorder=order)


def _look(sheet: Sheet, path: str) -> tuple[str, Any]:
    """Colour and dashes of a part of the state."""
    return PATHS[sheet.paths.index(path) % len(PATHS)]


def _arrow(axes: Axes, start: Point, end: Point, look: tuple[str, Any] | None = None) -> None:
    """Along a part of the state to the right or left, with its look; or up, without one."""
    colour, dashes = look or (INK, "-")
    if not look:
        _line(axes, start, (end[0], end[1] - 0.06))
    properties = {"arrowstyle": "-|>", "color": colour, "linestyle": dashes, "linewidth": 1.2 if look else 1}
    room = {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
    axes.annotate("", end, start, zorder=1 if look else 2, arrowprops=properties | room)
