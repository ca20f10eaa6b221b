"""The tables of one setting against another, such as threads or dtypes, from the frame of `speed.relative`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import Block, Column, tables, width_of
from unrolled.render.speed_axes import SIDES, at, options_of, places, row_axes
from unrolled.render.speed_reading import Quantity, quantity, short_names, tells
from unrolled.render.speed_tables import axis_columns, ratio_cells

if TYPE_CHECKING:
    import pandas as pd

BY = {"threads": "on", "dtype": "in"}


def relative_tables(frame: pd.DataFrame, width: int, as_: str = "ratio") -> list[Group]:
    """A table per axis, cell, phase and device: time over that with the first setting, a row per implementation."""
    if frame.empty:
        return []
    shown = quantity(as_)
    told = [tells(*row) for row in zip(frame["ratio"], frame["ratio_low"], frame["ratio_high"], strict=True)]
    frame = shown.turned(frame.assign(told=told))
    frame["implementation"] = frame["implementation"].map(short_names(frame["implementation"]))
    made = []
    for axis, whole in frame.groupby("axis", sort=False):
        beside = ["cell", "phase", "device", *(["dtype"] if axis != "dtype" else [])]
        for key, part in whole.groupby(beside, sort=False):
            title = f"{key[0]} · {key[1]} · {' '.join(map(str, key[2:]))}{options_of(part, but=str(axis))}"
            made += _tables(part, str(axis), title, width, shown)
    return made


def _tables(part: pd.DataFrame, axis: str, title: str, width: int, shown: Quantity) -> list[Group]:
    axes, first = row_axes(part, without=axis), part["first"].iloc[0]
    names = list(part["implementation"].unique())
    order = part["implementation"].map(names.index)
    found = places(part.assign(order=order), [*axes, "order"])
    rows = [at(part[order == place[-1]], axes, place[:-1]) for place in found]
    settings = list(part[axis].unique())
    left: list[Column] = [
        *axis_columns(axes, [place[:-1] for place in found]),
        *(
            [Column("implementation", [Text(names[place[-1]]) for place in found], left=True)]
            if len(names) > 1
            else []
        ),
        Column(_named(first, axis), [Text(text.seconds(some["first_s"].iloc[0])) for some in rows]),
    ]
    for wide in (True, False):
        blocks = [_setting(value, axis, rows, wide) for value in settings]
        if wide and width_of(left, *blocks) <= width:
            break
    how = f"{BY.get(axis, 'with')} {_named(settings[0], axis)}" if len(settings) == 1 else f"by {axis}"
    who = f"{names[0]} " if len(names) == 1 else ""
    return tables(f"{who}{title} · {shown.what} {how}, against {_named(first, axis)}", "", left, blocks, width)


def _named(value: Any, axis: str) -> str:
    if axis == "threads":
        return "1 thread" if value == 1 else f"{value} threads"
    if axis == "packed":
        return f"{SIDES[axis][bool(value)]} sequences"
    if axis in SIDES:
        return SIDES[axis][bool(value)]
    return f"dropout {value:g}" if axis == "dropout" else str(value)


def _setting(value: Any, axis: str, rows: list[pd.DataFrame], wide: bool) -> Block:
    """The columns of one setting: how it compares with the first one, and whether that is decided."""
    mine = [some[some[axis] == value] for some in rows]
    ratios, verdicts = zip(
        *(_cells(some.iloc[0], wide) if len(some) else [Text("")] * 2 for some in mine), strict=True
    )
    return [Column(_named(value, axis) + " (99 %)" * wide, ratios), Column("", verdicts, left=True)]


def _cells(row: Any, wide: bool) -> list[Text]:
    if row["status"] != "ok":
        return [Text("–"), Text(row["status"].upper(), style="bold red")]
    return ratio_cells(row, wide) if row["first_s"] > 0 else [Text("–"), Text("")]
