"""How the records of the library look outside of the commands: as a line, as text, in a notebook, on an axes.

Each record names a module of this package (`VIEW`) that has `line(record)`, what a `repr` says of it, and
`show(record, screen)`, which prints it; its picture is in `record_plots`.
"""

from __future__ import annotations

import io
import shutil
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from unrolled.extras import need
from unrolled.render.saved import view_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NARROWEST, WIDEST = 80, 120  # columns of a table as text
NOTEBOOK = 100  # columns in a cell of a notebook
STYLES = ("bold", "dim", "italic")  # besides colours
# Of text on a light page and on a dark one, each with a contrast of at least 4.5 to its background.
COLOURS = {
    "red": ("#b3261e", "#ff8a80"),
    "green": ("#1a7f37", "#6fdd8b"),
    "blue": ("#0550ae", "#80b8ff"),
    "yellow": ("#7a5b00", "#e3b341"),
    "magenta": ("#8250df", "#d2a8ff"),
    "cyan": ("#0b6e74", "#56d4dd"),
}
ANSI = {1: "red", 2: "green", 3: "yellow", 4: "blue", 5: "magenta", 6: "cyan"}  # a terminal's numbers of them
# What JupyterLab, VS Code, Colab, Sphinx and MkDocs put around a cell on a dark page.
DARK = (
    '[data-jp-theme-light="false"]', ".vscode-dark", 'html[theme="dark"]', '[data-theme="dark"]',
    '[data-md-color-scheme="slate"]',
)  # fmt: skip


def line(record: Any) -> str:
    """`<GradientFlow: vanishing, 13 of 200 steps back, …>`."""
    return f"<{type(record).__name__}: {view_of(record).line(record)}>"


def text(record: Any) -> str:
    """The tables as plain text, as wide as the terminal within bounds."""
    width = min(max(shutil.get_terminal_size((WIDEST, 24)).columns, NARROWEST), WIDEST)
    lines = _printed(record, width, None).splitlines()
    return "\n".join(each.rstrip() for each in lines).strip("\n")


def html(record: Any) -> str:
    """The tables as HTML that needs nothing else: text in columns, colours by the page's theme."""
    shown = Text.from_ansi(_printed(record, NOTEBOOK, "standard").rstrip("\n"))
    body = "".join(map(_span, shown.render(Console(force_jupyter=False))))
    return f'<div class="unrolled"><style>{_css()}</style><pre>{body.rstrip()}</pre></div>'


def plot(record: Any, ax: Axes | None) -> Axes:
    """The picture of a record in `ax`, or in a new figure."""
    need("matplotlib", extra="plots", why="plots")
    from unrolled.render.record_plots import PICTURES, new_axes
    from unrolled.render.style import house_style

    with house_style():
        axes = new_axes() if ax is None else ax
        PICTURES[record.VIEW](record, axes)
    return axes


def _printed(record: Any, width: int, colours: Literal["standard"] | None) -> str:
    file = io.StringIO()
    screen = Console(
        file=file, width=width, color_system=colours, force_terminal=colours is not None, force_jupyter=False,
        legacy_windows=False, highlight=False, no_color=colours is None,
    )  # fmt: skip
    view_of(record).show(record, screen)
    return file.getvalue()


def _span(segment: Segment) -> str:
    """A piece of text with the names of its style as classes."""
    style = segment.style
    classes = [name for name in STYLES if style and getattr(style, name)]
    if style and style.color and style.color.number in ANSI:
        classes.append(ANSI[style.color.number])
    words = escape(segment.text)
    return f'<span class="{" ".join(classes)}">{words}</span>' if classes and words.strip() else words


def _css() -> str:
    plain, dark = ("".join(f"--{name}:{pair[k]};" for name, pair in COLOURS.items()) for k in (0, 1))
    return (
        f".unrolled{{{plain}}}"
        f"{','.join(f'{place} .unrolled' for place in DARK)}{{{dark}}}"
        ".unrolled pre{margin:0;padding:0;border:0;background:none;color:inherit;overflow-x:auto;white-space:pre;"
        "font:0.9em/1.35 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}"
        ".unrolled .bold{font-weight:bold}.unrolled .italic{font-style:italic}.unrolled .dim{opacity:0.75}"
        + "".join(f".unrolled .{name}{{color:var(--{name})}}" for name in COLOURS)
    )
