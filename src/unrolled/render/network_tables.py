"""Other networks, in a block of their own: what each is and costs beside the one that was raced, and no verdict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import Column, tables, width_of
from unrolled.render.speed_axes import at, options_of, places, row_axes
from unrolled.render.speed_reading import quantity, tells
from unrolled.render.speed_tables import NOTHING_TOLD, axis_columns, ratio_text

if TYPE_CHECKING:
    import pandas as pd

RATIO = ("ratio", "ratio_low", "ratio_high")
CAPTION = (
    "Another network computes something else, on purpose: a ratio of times says nothing about which is better. "
    "Horizon: the largest lag at which the gradient has 1/1000 of its norm at lag 0, as the networks start."
)


def network_tables(frame: pd.DataFrame, width: int, as_: str = "ratio") -> list[Group]:
    """A table per cell, phase, device and dtype of what `speed.network_frame` gives: the reference, then the others."""
    if frame.empty:
        return []
    frame, made = quantity(as_).turned(frame), []
    for (cell, phase, device, dtype), part in frame.groupby(["cell", "phase", "device", "dtype"], sort=False):
        axes = row_axes(part)
        rows = [row for place in places(part, axes) for row in _rows(at(part, axes, place))]
        left = [
            *axis_columns(axes, [tuple(row[axis] for axis in axes) for row in rows]),
            Column("network", [Text(str(row["network"])) for row in rows], left=True),
            Column("parameters", [Text(_count(row["parameters"])) for row in rows]),
            Column("operations", [Text(_operations(row["operations"])) for row in rows]),
            Column("horizon", [Text(_horizon(row)) for row in rows]),
            Column("time", [_time(row) for row in rows]),
        ]
        heading = quantity(as_).heading.format(cell)
        for wide in (True, False):
            ratio = Column(heading + " (99 %)" * wide, [Text(_ratio(row, wide)) for row in rows])
            if wide and width_of(left, [ratio]) <= width:
                break
        made += tables(
            f"another network · {cell} · {phase} · {device} {dtype}{options_of(part)}",
            CAPTION,
            left,
            [[ratio]],
            width,
        )
    return made


def network_lines(frame: pd.DataFrame, as_: str = "ratio") -> list[str]:
    """`Another network: gru took 0.76 times as long as lstm, with 0.75 times its parameters, over 9 workloads.`"""
    if frame.empty:
        return []
    frame, said, lines = quantity(as_).turned(frame), quantity(as_).sentence, []
    references = frame[frame["is_reference"]]
    for (cell, name), rows in frame[~frame["is_reference"]].groupby(["cell", "network"], sort=False):
        timed = rows[rows["rounds"] > 0]
        told = timed[[tells(*row) for row in zip(*(timed[c] for c in RATIO), strict=True)]]
        failed = rows[rows["rounds"] == 0]
        if len(failed):
            lines.append(
                f"Another network: {name} got no time: {failed['status'].iloc[0]}, {failed['reason'].iloc[0]}."
            )
        if told.empty:
            continue
        own = references[references["cell"] == cell]["parameters"]
        share = _mean(told["parameters"]) / _mean(own)
        over = f", over {len(told)} workloads" if len(told) > 1 else ""
        ratio = said.format(name=name, mean=f"{_mean(told['ratio']):.2f}")
        lines.append(f"Another network: {ratio} as {cell}, with {share:.2f} times its parameters{over}.")
    return lines


def _mean(values: pd.Series) -> float:
    """The geometric one."""
    return float(np.exp(np.log(values.astype(float)).mean()))


def _rows(part: pd.DataFrame) -> list[Any]:
    """The reference first."""
    ordered = part.sort_values("is_reference", ascending=False, kind="stable")
    others = part.loc[~part["is_reference"] & (part["rounds"] > 0), "reference_median_s"]
    if len(others):  # as it was beside them, so that times and ratios are in one order
        ordered.loc[ordered["is_reference"], "median_s"] = _mean(others)
    return [row for _, row in ordered.iterrows()]


def _count(number: float) -> str:
    return "–" if math.isnan(number) else f"{number:,.0f}"


def _operations(number: float) -> str:
    return text.amount(number, "FLOP")


def _horizon(row: Any) -> str:
    if math.isnan(row["horizon"]):
        return "–"
    return f"{'≥ ' * bool(row['horizon_is_censored'])}{row['horizon']:.0f}"


def _time(row: Any) -> Text:
    if not row["rounds"]:
        return Text(row["status"].upper(), style="bold red")
    return Text(text.seconds(row["median_s"]))


def _ratio(row: Any, wide: bool) -> str:
    if row["is_reference"]:
        return "1"
    if not row["rounds"]:
        return "–"
    return ratio_text(row, wide) if tells(*(row[name] for name in RATIO)) else NOTHING_TOLD
