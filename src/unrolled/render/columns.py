"""Columns that belong together, beside each other as far as a terminal is wide, and below each other from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Column:
    """A head, and a cell for each row of the table."""

    head: str
    cells: Sequence[Text]
    left: bool = False

    @property
    def width(self) -> int:
        """In a table, with the space before the next column."""
        return 1 + max(text.cell_len for text in (*map(Text, self.head.split("\n")), *self.cells))


Block = Sequence[Column]


def width_of(*blocks: Block) -> int:
    """Of a table of these."""
    return sum(column.width for block in blocks for column in block) - 1


def compact_table(title: str, caption: str = "") -> Table:
    """One space between columns and a rule under the head: figures fit in 80 columns."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )


def fits(made: RenderableType, width: int) -> bool:
    """Whether it has as many columns as it wants."""
    wide = Console(width=10 * width, force_jupyter=False)
    return wide.measure(made).maximum <= width


def below(title: str, table: Table) -> Group:
    """A table below its title, which may be wider than the table."""
    return Group(Text(title, style="bold"), table)


def tables(title: str, caption: str, left: Block, blocks: Sequence[Block], width: int) -> list[Group]:
    """As many tables as it takes, each with `left` and the next of the blocks; at least one with `left` alone.

    Each has the title above it, the last one the caption below it, both as wide as the terminal.
    """
    parts: list[list[Block]] = [[left]]
    for block in blocks:
        if len(parts[-1]) > 1 and width_of(*parts[-1], block) > width:
            parts.append([left])
        parts[-1].append(block)
    heading = Text(title, style="bold")
    made = [Group(heading, _table([column for block in part for column in block])) for part in parts]
    if caption:
        made[-1] = Group(*made[-1].renderables, Text(caption, style="dim italic"))
    return made


def _table(columns: Sequence[Column]) -> Table:
    table = compact_table("")
    for column in columns:
        table.add_column(column.head, justify="left" if column.left else "right")
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table
