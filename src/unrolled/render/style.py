"""How every figure looks: colours that survive grey, a title that says what is seen, and reproducible files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Bbox

from unrolled.render.kept import keep

# Okabe and Ito's palette (2008), in an order of clearly different lightness; black is for the reference.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
# Networks are told apart by colour, by marker and, in grey, by the lightness of the colour.
LINE_COLOURS = (*COLOURS, "#000000", "#888888")
LINE_MARKERS = (*MARKERS, "X", "*")
DIM = "#555555"

TITLE, PANEL_TITLE, NOTE, LEGEND, FOOT = 11.0, 9.0, 8.0, 8.0, 7.0  # points
EDGE, GAP = 0.12, 0.08  # inches: around a figure, and between title, note, legend and panels
NARROWEST = 5.2  # inches of a figure, so that its title has room
OF_A_PANEL = "title of a panel"  # the label of such a text, by which it is found
LINE = 0.15  # inches of height that a line of a panel's title takes
HINTING = 1.03  # what letters of a PNG may be wider than those of an SVG
_HANDLE, _AFTER_HANDLE, _BETWEEN = 2.0, 0.8, 2.0  # of a legend, in units of its font's size

_RC: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "unrolled",  # the same data give the same file
    "svg.fonttype": "path",
    "savefig.dpi": 150,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Our settings for the figures made inside, and for no others."""
    with rc_context(_RC):
        yield


def line_look(k: int) -> dict[str, Any]:
    """Of line `k` among many: its colour and marker, which is hollow from the ninth on."""
    colour = LINE_COLOURS[k % len(LINE_COLOURS)]
    return {
        "color": colour,
        "marker": LINE_MARKERS[k % len(LINE_MARKERS)],
        "markerfacecolor": colour if k < len(LINE_COLOURS) else "white",
    }


def title_panel(panel: Axes, text: str, pad: float | None = None) -> None:
    """A title on the left of a panel, which `finish` breaks into as many lines as it takes there."""
    title = panel.set_title(text, loc="left", fontsize=PANEL_TITLE, pad=pad)
    title.set_label(OF_A_PANEL)
    title.set_parse_math(False)


def finish(
    figure: Figure, title: str, note: str = "", foot: str = "", handles: Mapping[str, Any] | None = None
) -> Figure:
    """Around the panels: above them a title, a note and a legend, below them the foot.

    The title is a sentence that says what is seen, the note what is drawn, the foot what was measured where. The figure
    grows by what they take, so that nothing covers a panel. `handles` of the legend, by their labels, are those of all
    panels where none are given.
    """
    handles = labelled(figure.axes) if handles is None else handles
    width = figure.get_figwidth()
    room, left = width - 2 * EDGE, EDGE / width
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(left / 2, 0, 1 - left, 1))
    engine.execute(figure)
    more = LINE * _break_titles(figure)
    said = wrapped(title, room, TITLE, "bold")
    first = figure.suptitle(said, x=left, y=1, ha="left", va="top", fontsize=TITLE, fontweight="bold")
    head: list[Text | Legend] = [first]
    if note:
        said = wrapped(note, room, NOTE)
        head.append(figure.text(left, 1, said, ha="left", va="top", fontsize=NOTE, color="#333333"))
    if handles:
        head.append(_legend(figure, handles, room))
    said = wrapped(foot, room, FOOT)
    below = figure.supxlabel(said, x=left, y=EDGE / 2, ha="left", va="bottom", fontsize=FOOT, color=DIM)

    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    tall = [artist.get_window_extent(renderer).height / figure.dpi for artist in head]
    above = EDGE + sum(tall) + GAP * len(tall)
    under = EDGE / 2 + GAP / 2 + (below.get_window_extent(renderer).height / figure.dpi if foot else 0.0)
    height = figure.get_figheight() + above + under + more
    figure.set_figheight(height)
    y = height - EDGE
    for artist, each in zip(head, tall, strict=True):
        if isinstance(artist, Legend):
            artist.set_bbox_to_anchor((left, y / height), figure.transFigure)
        else:
            artist.set_y(y / height)
        y -= each + GAP
    below.set_y(EDGE / 2 / height)
    for text in (first, below):  # names in them may have any sign
        text.set_parse_math(False)
    engine.set(rect=(left / 2, under / height, 1 - left, 1 - (above + under) / height))
    return figure


def labelled(panels: Sequence[Axes]) -> dict[str, Any]:
    """What has a label in some panels, each label once."""
    handles: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    return handles


def _legend(figure: Figure, handles: Mapping[str, Any], room: float) -> Legend:
    """In as many columns as there is room for; at first in the upper left corner."""
    names = list(handles)
    columns = next(n for n in range(len(names), 0, -1) if n == 1 or _legend_width(names, n) <= room)
    fitting = {name: wrapped(name, room - 0.4, LEGEND) for name in names}
    names = row_by_row(names, columns)
    return figure.legend(
        [handles[name] for name in names], [fitting[name] for name in names], loc="upper left", ncols=columns,
        bbox_to_anchor=(EDGE / figure.get_figwidth(), 1), fontsize=LEGEND, borderpad=0, borderaxespad=0,
        handlelength=_HANDLE, handletextpad=_AFTER_HANDLE, columnspacing=_BETWEEN,
    )  # fmt: skip


def _legend_width(names: Sequence[str], columns: int) -> float:
    em = LEGEND / 72
    widest = (max(inches(name, LEGEND) for name in names[k::columns]) for k in range(columns))
    return sum(each + (_HANDLE + _AFTER_HANDLE) * em for each in widest) + (columns - 1) * _BETWEEN * em


def row_by_row(items: Sequence[Any], columns: int) -> list[Any]:
    """In the order in which a legend, that fills its columns one after the other, shows them row by row."""
    return [item for k in range(columns) for item in items[k::columns]]


def _break_titles(figure: Figure) -> int:
    """Into lines that end before the next panel begins; gives how many lines that is more, over all rows of panels."""
    starts = sorted(panel.get_position().x0 for panel in figure.axes if panel.get_title(loc="left"))
    lines: dict[int, int] = {}
    for panel in figure.axes:
        place = panel.get_subplotspec()
        for title in panel.findobj(Text, include_self=False):
            if not isinstance(title, Text) or title.get_label() != OF_A_PANEL or place is None:
                continue
            start = panel.get_position().x0
            stop = min((other for other in starts if other > start + 0.02), default=1.0)
            room = (stop - start) * figure.get_figwidth() - EDGE
            title.set_text(wrapped(title.get_text(), room, PANEL_TITLE))
            row = place.rowspan.start
            lines[row] = max(lines.get(row, 0), title.get_text().count("\n"))
    return sum(lines.values())


def wrapped(text: str, width: float, size: float, weight: str = "normal") -> str:
    """In lines of at most `width` inches: broken between words, and after a sign in a word that is wider itself."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for piece in _pieces(paragraph, width, size, weight):
            if line and inches(line + piece.rstrip(), size, weight) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
        lines.append(line.rstrip())
    return "\n".join(lines)


def _pieces(text: str, width: float, size: float, weight: str) -> Iterator[str]:
    """What stays together: words with the spaces after them, parts of long words, letters of long parts."""
    for word in re.findall("[^ ]+ *", text):
        if inches(word.rstrip(), size, weight) <= width:
            yield word
            continue
        for part in re.findall(r"[^._:,/+-]+[._:,/+-]*\s*|[._:,/+-]+\s*", word):
            yield from [part] if inches(part.rstrip(), size, weight) <= width else part


@cache
def inches(text: str, size: float, weight: str = "normal") -> float:
    """How wide a line of text is."""
    font = FontProperties(size=size, weight=weight)
    is_math = text.count("$") == 2
    width: float = text_to_path.get_text_width_height_descent(text, font, ismath=is_math)[0]
    return HINTING * width / 72


def spaced(sizes: Sequence[float], places: Sequence[float], size: float = 9.0) -> list[float]:
    """Of increasing numbers at `places` (inches along an axis) those that can be written there: the largest first."""
    named: list[tuple[float, float]] = []
    for number, place in reversed(list(zip(sizes, places, strict=True))):
        if named:
            after, where = named[-1]
            needed = (inches(f"{number:g}", size) + inches(f"{after:g}", size)) / 2 + 0.06
            if where - place < needed:
                continue
        named.append((number, place))
    return [number for number, _ in reversed(named)]


def _round_places(figure: Figure) -> None:
    """The solver of the layout leaves another last digit each time, from which names in an SVG are made."""
    for panel in figure.axes:
        panel.set_position(Bbox(np.round(panel.get_position(original=True).get_points(), 7)))


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name.png` and `name.svg`, the same bytes for the same figure; both carry its title as text."""
    if keep(name, figure):
        return []
    paths = []
    title = " ".join(str(figure.get_suptitle() or figure.get_label()).split())
    with house_style():
        engine = figure.get_layout_engine()
        if engine is not None:  # lay it out once for both files
            engine.execute(figure)
            figure.set_layout_engine("none")
            _round_places(figure)
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            path = folder / f"{name}.{suffix}"
            figure.savefig(path, metadata={"Title": title, **metadata})
            paths.append(path)
    return paths
