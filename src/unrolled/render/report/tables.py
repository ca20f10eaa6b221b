"""The tables of the terminal as tables of a page: heads, cells, and the number that each cell is sorted by."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape
from rich.console import Group
from rich.table import Table
from rich.text import Text

COLOURS = ("red", "green", "yellow", "blue", "magenta", "cyan")
WORDS = {"bold", "dim", "italic", *COLOURS}  # of rich's styles, the ones that the page has a class for
SHORT = 32  # letters
BLOCKS = set("▁▂▃▄▅▆▇█")
VERDICTS = {"faster", "slower", "same", "unclear"}
# What a number may be followed by, and what that makes of it; of a percentage the share.
UNITS = {
    "ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "%": 1e-2, "k": 1e3, "M": 1e6, "G": 1e9,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KiB/s": 2**10,
}  # fmt: skip
# Words in columns of numbers. What a reader would call missing has no number and goes last.
WORDS_FOR_NUMBERS = {"zero": 0.0, "inf": math.inf, "∞": math.inf, "-∞": -math.inf, "always": 1.0}
NUMBER = re.compile(r"[★~±×\s]*([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)\+?\s?([^\W\d_]+(?:/s)?|%)?")


@dataclass(frozen=True)
class Head:
    """A column: its words, what it is called where it has none, and whether it holds numbers."""

    words: str
    name: str
    is_number: bool


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the number it is sorted by, if it has one."""

    shown: Markup
    number: float | None = None

    @property
    def key(self) -> str:
        """The number, with every digit, for an attribute."""
        return "" if self.number is None else repr(self.number)

    @property
    def is_short(self) -> bool:
        """Whether it stays on one line where there is room."""
        return len(self.shown.striptags()) <= SHORT


@dataclass(frozen=True)
class PageTable:
    """A table of the page."""

    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]


def page_table(table: Table, title: str, notes: Iterable[str]) -> PageTable:
    """A table of the terminal for the page: every row says by itself what it is, so that rows may change places."""
    columns = [list(column.cells) for column in table.columns]
    heads = [
        re.sub(r"(?<=\w-) ", "", _words(column.header)) for column in table.columns
    ]  # broken after a hyphen
    rows = [list(row) for row in zip(*columns, strict=True)]
    if any(_is_heading(row) for row in rows):
        heads, rows = ["network", *heads], _under_their_headings(rows)
        is_number = [False] * 2 + [column.justify == "right" for column in table.columns[1:]]
    else:
        rows = _with_names(rows)
        is_number = [column.justify == "right" for column in table.columns]
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in heads]
    return PageTable(
        title=title,
        heads=tuple(
            Head(words, words or _name(column, before), number)
            for words, column, before, number in zip(heads, columns, ["", *heads], is_number, strict=False)
        ),
        rows=tuple(
            tuple(
                Cell(_shown(cell), number_in(_words(cell)) if numeric else None)
                for cell, numeric in zip(row, is_number, strict=True)
            )
            for row in rows
        ),
        notes=tuple(notes),
    )


def _is_heading(row: list[Any]) -> bool:
    """Whether a row is the name of what the rows below it are about."""
    return bool(_words(row[0])) and len(row) > 1 and not any(map(_words, row[1:]))


def _under_their_headings(rows: list[list[Any]]) -> list[list[Any]]:
    """Rows with that name in a column of its own, and what is set in below another row with the other's words first."""
    found, heading, above = [], Text(""), ""
    for row in rows:
        if _is_heading(row):
            heading = Text(_words(row[0]))
            continue
        said = str(row[0])
        depth = len(said) - len(said.lstrip())
        if depth <= 1:
            above = said.strip()
        words = said.strip() if depth <= 1 else f"{above}: {said.strip()}"
        found.append([heading, Text(words), *row[1:]])
    return found


def _with_names(rows: list[list[Any]]) -> list[list[Any]]:
    """Rows with a name in the first column also where it is that of the row above, which is left out there."""
    name, found = Text(""), []
    for row in rows:
        name = row[0] if _words(row[0]) else name
        found.append([name, *row[1:]])
    return found


def _name(cells: list[Any], before: str) -> str:
    """Of a column without words at its head, by what is in it."""
    said = {_words(cell) for cell in cells}
    if any(BLOCKS & set(words) for words in said):
        return "profile"
    return "verdict" if said & VERDICTS else f"{before}: by"


def _words(cell: Any) -> str:
    """The text of a cell, in one line."""
    return " ".join(_lines_of(cell)).strip()


def _lines_of(cell: Any) -> list[str]:
    if isinstance(cell, Group):
        return [line for part in cell.renderables for line in _lines_of(part)]
    if isinstance(cell, Table):
        return [
            " ".join(_words(each) for each in row)
            for row in zip(*(column.cells for column in cell.columns), strict=True)
        ]
    return str(cell).splitlines() or [""]


def _shown(cell: Any) -> Markup:
    """A cell as HTML: lines below each other, styles as classes, and everything escaped."""
    if isinstance(cell, Group):
        return Markup("<br>").join(_shown(part) for part in cell.renderables)
    if isinstance(cell, Table):
        rows = zip(*(column.cells for column in cell.columns), strict=True)
        return Markup("<br>").join(Markup(" ").join(_shown(each) for each in row) for row in rows)
    lines = Markup("<br>").join(escape(line) for line in str(cell).strip().splitlines())
    if BLOCKS & set(str(cell)):
        return Markup('<span class="spark" aria-hidden="true">{}</span>').format(str(cell))
    names = _classes(cell)
    return Markup('<span class="{}">{}</span>').format(names, lines) if names else lines


def _classes(cell: Any) -> str:
    """Those of a text; of one that is made of parts, those of its first part."""
    if not isinstance(cell, Text):
        return ""
    styles = [str(cell.style), *(str(span.style) for span in cell.spans[:1])]
    return " ".join(word for style in styles for word in style.split() if word in WORDS)


def number_in(words: str) -> float | None:
    """The first number in a cell, in the unit that is the same for all: `590 µs`, `1.05 (1.02–1.08)`, `13+`, `-∞`."""
    bare = words.lstrip("★~± ").strip()
    if bare in WORDS_FOR_NUMBERS:
        return WORDS_FOR_NUMBERS[bare]
    found = NUMBER.match(words)
    if not found:
        return None
    number, unit = found.groups()
    return float(number.replace(",", "")) * UNITS.get(unit or "", 1.0)
