"""The table of a sweep: a row per point, or, of many points, one axis down and another across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group
from rich.text import Text

from unrolled.render.columns import Column, tables, width_of
from unrolled.render.sweep_words import number
from unrolled.sweep.axis import Axis, shown

if TYPE_CHECKING:
    import pandas as pd

    from unrolled.sweep.record import Sweep

MOST_ROWS = 40  # of points one below the other
DOWN, ACROSS, BLOCKS = 24, 6, 4  # rows, columns and tables of many points
STYLES = {True: "red", False: "blue"}  # above 0 and below, as the picture has them


def sweep_tables(sweep: Sweep, width: int, explain: bool = False) -> list[Group]:
    """In the order in which they are read."""
    means = sweep.mean_frame()
    if means.empty:
        return []
    if len(means) <= MOST_ROWS or len(sweep.axes) == 1:
        return _points(sweep, means, width, explain)
    return _across(sweep, means, width)


def note(sweep: Sweep) -> str:
    """What the columns mean."""
    said = "; ".join(f"{column.name}: {column.label}" for column in sweep.columns)
    return (
        f"Means over the seeds, ± their standard deviation; {said}. A problem: a network that met NaN or inf, or that "
        "did not fit into memory; it is in no mean. sweep.csv has a row for each seed, sweep_mean.csv for each point."
    )


def _title(sweep: Sweep) -> str:
    fixed = [f"{name} {shown(sweep.grid.base[name])}" for name in ("cell", "hidden") if name in sweep.grid.base]
    axes = {axis.name for axis in sweep.axes}
    fixed = [each for each in fixed if each.split()[0] not in axes]
    return " · ".join([sweep.what, *fixed, f"{sweep.grid.seeds} seeds" if sweep.grid.seeds > 1 else "1 seed"])


def _value(sweep: Sweep, value: float) -> Text:
    if not sweep.column.centred or not value or np.isnan(value):
        return Text(number(value))
    return Text(number(value, signed=True), style=STYLES[value > 0])


def _points(sweep: Sweep, means: pd.DataFrame, width: int, explain: bool) -> list[Group]:
    """A row per point; what does not fit beside it stands in tables below with `explain`, and else in the files."""
    kept = means.iloc[_spread_out(len(means), MOST_ROWS)]
    rows = kept.to_dict("records")
    left = [
        *(
            Column(axis.name, [Text(shown(_own(axis, row))) for row in rows], left=not axis.is_numeric)
            for axis in sweep.axes
        ),
        Column(sweep.shown, [_value(sweep, row[sweep.shown]) for row in rows]),
    ]
    if sweep.grid.seeds > 1 and sweep.column.kind == "number":
        left.append(Column("±", [Text(number(row[f"{sweep.shown}_spread"])) for row in rows]))
    if sweep.problems:
        left.append(Column("problems", [Text(str(row["problems"])) for row in rows]))
    others = [
        column for column in sweep.columns if column.name != sweep.shown and kept[column.name].notna().any()
    ]
    blocks = [[Column(_head(column.name), [_other(row[column.name]) for row in rows])] for column in others]
    if not explain:
        while blocks and width_of(left, *blocks) > width:
            blocks.pop()
    caption = (
        "" if len(kept) == len(means) else f"{len(kept)} of {len(means)} points; all are in sweep_mean.csv"
    )
    return tables(_title(sweep), caption, left, blocks, width)


def _head(name: str) -> str:
    return name.replace("_", "\n")


def _other(value: Any) -> Text:
    return Text(value if isinstance(value, str) else "–" if value is None else number(float(value)))


def _own(axis: Axis, row: dict[str, Any]) -> Any:
    """The value as the axis has it; a frame turns None into NaN."""
    value = row[axis.name]
    return None if value != value else value


def _across(sweep: Sweep, means: pd.DataFrame, width: int) -> list[Group]:
    """The column shown alone: the longer of the first two axes down, the other across; a table for each of the rest."""
    first, second, *rest = sorted(sweep.axes[:2], key=lambda axis: -len(axis.values)) + list(sweep.axes[2:])
    down, across = _thinned(first, DOWN), _thinned(second, ACROSS)
    groups = (
        list(means.groupby([axis.name for axis in rest], sort=False, dropna=False)) if rest else [((), means)]
    )
    made = []
    for key, part in groups[:BLOCKS]:
        at = {(_own(first, row), _own(second, row)): row for row in part.to_dict("records")}
        left = [Column(first.name, [Text(shown(value)) for value in down], left=not first.is_numeric)]
        blocks = [
            [Column(f"{second.name}\n{shown(each)}", [_cell(sweep, at.get((value, each))) for value in down])]
            for each in across
        ]
        place = key if isinstance(key, tuple) else (key,)
        where = "".join(f" · {axis.name} {shown(value)}" for axis, value in zip(rest, place, strict=True))
        made += tables(f"{_title(sweep)}{where} · {sweep.column.label}", "", left, blocks, width)
    if left_out := _left_out(sweep, down, across, len(groups)):
        made[-1] = Group(*made[-1].renderables, Text(left_out, style="dim italic"))
    return made


def _cell(sweep: Sweep, row: dict[str, Any] | None) -> Text:
    if row is None:
        return Text("")
    if np.isnan(row[sweep.shown]):
        return Text("NaN/inf" if row["problems"] else "–", style="bold red" if row["problems"] else "")
    return _value(sweep, row[sweep.shown])


def _left_out(sweep: Sweep, down: Sequence[Any], across: Sequence[Any], groups: int) -> str:
    shown_points = len(down) * len(across) * min(groups, BLOCKS)
    if shown_points >= sweep.grid.count:
        return ""
    return f"{shown_points} of {sweep.grid.count} points; all are in sweep_mean.csv"


def _thinned(axis: Axis, most: int) -> list[Any]:
    return [axis.values[k] for k in _spread_out(len(axis.values), most)]


def _spread_out(count: int, most: int) -> list[int]:
    """At most so many of `count` places, first and last among them."""
    return (
        list(range(count))
        if count <= most
        else sorted({round(k * (count - 1) / (most - 1)) for k in range(most)})
    )
