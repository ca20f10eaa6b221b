"""The tables of shapes, from their frames: a row per configuration, and a row per parameter."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from unrolled.render.columns import compact_table

if TYPE_CHECKING:
    import pandas as pd

Line = tuple[str, str, str]  # a parameter's name, shape and gates

LEAST_BUILT = 20  # columns that the first column needs to have out, h and c beside it


@dataclass(frozen=True)
class _Row:
    """A configuration, as text."""

    built: str
    lines: list[Line]
    shapes: dict[str, list[str]]  # of out, h and, where some row has one, c
    count: str
    difference: Text


def shapes_table(frame: pd.DataFrame, parameters: pd.DataFrame, width: int) -> Table:
    """A row per configuration; layers that are alike share a line. Where `width` is short, two columns."""
    quantities = dict.fromkeys(["out", *(part for parts in frame["states"] for part in parts.split())])
    rows = [
        _Row(
            built=row["built"],
            lines=_parameter_lines(parameters[parameters["configuration"] == row["name"]]),
            shapes={name: _counted(row[name].split("; ")) for name in quantities},
            count=f"{row['parameters']:,}",
            difference=_difference(row),
        )
        for row in frame.to_dict("records")
    ]
    table = compact_table(f"Shapes: input {frame['input'].iloc[0]}")
    table.padding = (0, 1, 0, 0)
    columns = _widths([line for row in rows for line in row.lines])
    taken = [sum(columns) + 2, max(5, *(len(row.count) for row in rows)), len("difference")]
    taken += [max(len(part) for row in rows for part in row.shapes[name]) for name in quantities]
    wide = width - sum(taken) - 2 * len(taken) - 1 >= LEAST_BUILT
    (_fill_wide if wide else _fill_narrow)(table, rows, columns)
    return table


def _fill_wide(table: Table, rows: list[_Row], columns: list[int]) -> None:
    """A column for each thing."""
    table.add_column("how it is built", overflow="fold")
    table.add_column("parameters, shape, gates", width=sum(columns) + 2, no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    for name in rows[0].shapes:
        table.add_column(name, no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    for row in rows:
        shapes = (Text("\n".join(found) or "–") for found in row.shapes.values())
        parameters = _grid(row.lines, columns)
        table.add_row(Text(row.built), parameters, row.count, *shapes, row.difference, end_section=True)


def _fill_narrow(table: Table, rows: list[_Row], columns: list[int]) -> None:
    """How it is built above its parameters; shapes, count and difference below each other beside them."""
    table.add_column("how it is built: parameters, shape, gates", overflow="fold")
    table.add_column("shapes, count, difference", overflow="fold")
    for row in rows:
        described = Group(Text(row.built, style="bold"), _grid(row.lines, columns))
        beside = Table.grid(padding=(0, 1, 0, 0))
        for name, found in row.shapes.items():
            if any(found):
                beside.add_row(Text(name, style="dim"), Text("\n".join(found)))
        beside.add_row(Text("count", style="dim"), row.count)
        beside.add_row(Text("diff.", style="dim"), row.difference)
        table.add_row(described, beside, end_section=True)


def _difference(row: dict[str, Any]) -> Text:
    amount = f"{row['difference']:.1e}" if row["difference"] else "0"
    return Text(amount, style="" if row["agrees"] else "bold red")


def shapes_note(frame: pd.DataFrame) -> str:
    """What the columns mean."""
    gates = "; ".join(dict.fromkeys(frame["gates"][frame["gates"] != ""]))
    rows = f"Gates: from the first row of a parameter down, equally many rows each: {gates}. " if gates else ""
    return (
        f"{rows}Count: of the numbers in all parameters. Difference: the largest between the module and the loop of "
        "cells with the same weights, over all entries of the output and the state, from a random initial state."
    )


def _counted(shapes: list[str]) -> list[str]:
    """Equal neighbours once, with their number: `12 × (3, 20)`."""
    runs = ((shape, len(list(run))) for shape, run in groupby(shapes))
    return [shape if count == 1 else f"{count} × {shape}" for shape, count in runs]


def _parameter_lines(parameters: pd.DataFrame) -> list[Line]:
    """Name, shape and gates, with one line for layers next to each other that agree in them."""
    return [(_run_name(run), run[0]["shape"], run[0]["gates"]) for run in _runs(parameters)]


def _widths(lines: list[Line]) -> list[int]:
    """Of names, shapes and gates: one set for all rows of the table, so that they stand below each other."""
    return [max(map(len, column)) for column in zip(*lines, strict=True)] or [0, 0, 0]


def _grid(lines: list[Line], widths: list[int]) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for width in widths:
        grid.add_column(width=width, overflow="fold")
    for name, shape, gates in lines:
        grid.add_row(Text(name), Text(shape), Text(gates, style="dim"))
    return grid


def _runs(parameters: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Parameters of one pattern and shape with consecutive numbers; by name once several share a line."""
    runs: list[list[dict[str, Any]]] = []
    for row in parameters.to_dict("records"):
        for run in runs:
            last = run[-1]
            alike = (last["pattern"], last["shape"]) == (row["pattern"], row["shape"])
            if alike and last["number"] + 1 == row["number"]:
                run.append(row)
                break
        else:
            runs.append([row])
    names = list(parameters["pattern"].unique())
    return sorted(runs, key=lambda run: names.index(run[0]["pattern"])) if len(runs) < len(parameters) else runs


def _run_name(run: list[dict[str, Any]]) -> str:
    """`weight_ih_l0`, `weight_ih_l1–3`."""
    first, last = run[0], run[-1]
    numbers = f"{first['number']}–{last['number']}" if last is not first else f"{first['number']}"
    return str(first["pattern"]).format(numbers)


def parameter_table(parameters: pd.DataFrame) -> Table:
    """A row per parameter of one configuration, and the rows of each gate as Python slices them."""
    table = compact_table("Parameters, and the rows of each gate")
    table.padding = (0, 1, 0, 0)
    for name in ("parameter", "shape"):
        table.add_column(name, overflow="fold")
    table.add_column("each", justify="right")
    table.add_column("rows", overflow="fold")
    for run in _runs(parameters):
        table.add_row(
            Text(_run_name(run)), Text(run[0]["shape"]), Text(f"{run[0]['count']:,}"), Text(run[0]["rows"])
        )
    return table
