"""What a command prints of a record, caught on its way to the terminal: tables with their notes, and sentences."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.table import Table

WIDE = 1000  # columns, so that every table has all of its own
NOTE = "dim"  # the style in which a command prints what explains the table above


@dataclass
class Printed:
    """Tables, each with the notes below it, and the sentences that sum them up."""

    tables: list[tuple[Table, str, list[str]]] = field(default_factory=list)  # table, title, notes
    sentences: list[str] = field(default_factory=list)

    @property
    def answer(self) -> str:
        """The first line of the summary; where it is one long line, the first sentence."""
        return self._parts()[0]

    @property
    def rest(self) -> list[str]:
        """The lines, or sentences, after it."""
        return self._parts()[1]

    def _parts(self) -> tuple[str, list[str]]:
        lines = [line for text in self.sentences for line in text.splitlines() if line.strip()]
        if len(lines) == 1:
            lines = re.split(r"(?<=\.)\s+(?=[A-Z])", lines[0])
        return (lines[0], lines[1:]) if lines else ("", [])


class Screen(Console):
    """A console that keeps what is printed as it is, in place of drawing it."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO(), width=WIDE, color_system=None)
        self.printed = Printed()

    def print(self, *objects: Any, style: Any = None, **options: Any) -> None:
        """Keep a table, a note or a sentence."""
        for each in objects:
            if isinstance(each, Table | Group):
                self._keep_table(each)
            elif style == NOTE and self.printed.tables:
                self.printed.tables[-1][2].append(str(each))
            elif str(each).strip():
                self.printed.sentences.append(str(each))

    def _keep_table(self, printed: Table | Group) -> None:
        """A table as it is, or one with its title in a line above it and its caption in one below."""
        parts = [printed] if isinstance(printed, Table) else list(printed.renderables)
        (table,) = (part for part in parts if isinstance(part, Table))
        place = parts.index(table)
        above = [str(part) for part in parts[:place]] or [str(table.title or "")]
        below = [str(part) for part in parts[place + 1 :]] or [str(table.caption or "")]
        self.printed.tables.append((table, " ".join(above), [line for line in below if line]))
