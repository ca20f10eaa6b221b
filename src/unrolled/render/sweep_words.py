"""What a sweep amounts to, in sentences: where the column shown crosses 0, or how far it goes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pandas as pd

from unrolled.render import text
from unrolled.sweep.axis import Axis, shown

if TYPE_CHECKING:
    from unrolled.sweep.record import Sweep

MOST = 6  # sentences about crossings


def number(value: float, signed: bool = False) -> str:
    """Three digits: `−0.0512`, `1.20`, `1.2e-05`; `+` where the sign says something."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "-∞" if value < 0 else "∞"
    if value == 0:
        return "0"
    found = text.significant(abs(value)) if 1e-4 <= abs(value) < 1e6 else f"{abs(value):.1e}"
    sign = "-" if value < 0 else "+" if signed else ""
    return f"{sign}{found}"


def over_of(sweep: Sweep) -> Axis | None:
    """The axis along which crossings are looked for: that of theory, else the first of numbers."""
    numeric = [axis for axis in sweep.axes if axis.is_numeric]
    if sweep.theory is not None:
        return next(axis for axis in numeric if axis.name == sweep.theory.over)
    return numeric[0] if numeric else None


def crossings(sweep: Sweep) -> pd.DataFrame:
    """A row per combination of the other axes: where the mean first goes through 0, `measured` and in `theory`.

    Between two values a straight line is taken; NaN where it does not cross.
    """
    over = over_of(sweep)
    if over is None or not sweep.column.centred:
        return pd.DataFrame()
    others = [axis.name for axis in sweep.axes if axis is not over]
    means = sweep.mean_frame()
    known = sweep.theory_frame()
    rows = []
    groups = means.groupby(others, sort=False, dropna=False) if others else [((), means)]
    for key, part in groups:
        values = key if isinstance(key, tuple) else (key,)
        rows.append(
            {
                **dict(zip(others, values, strict=True)),
                "measured": _crossing(part.sort_values(over.name), over.name, sweep.shown),
                "theory": _at(known, dict(zip(others, values, strict=True)), over.name),
            }
        )
    return pd.DataFrame(rows)


def _crossing(part: pd.DataFrame, over: str, column: str) -> float:
    places = part[[over, column]].dropna().to_numpy(dtype=float).tolist()
    for (left, low), (right, high) in pairwise(places):
        if (low <= 0) != (high <= 0):
            if not (math.isfinite(low) and math.isfinite(high)):
                return float(right)
            return float(left + (right - left) * low / (low - high))
    return math.nan


def _at(known: pd.DataFrame, others: dict[str, object], over: str) -> float:
    for name, value in others.items():
        if len(known):
            known = known[known[name] == value]
    return float(known[over].iloc[0]) if len(known) else math.nan


def answer(sweep: Sweep) -> str:
    """The one sentence."""
    means = sweep.mean_frame()
    known = means[means[sweep.shown].notna()]
    what = sweep.column.what
    if known.empty:
        return f"Nothing can be told: no {what} was measured."
    found = crossings(sweep)
    met = found[found["measured"].notna()] if len(found) else found
    over = over_of(sweep)
    if len(met) and over is not None:
        first = met.iloc[0]
        where = _where(sweep, first.to_dict())
        theory = (
            "" if sweep.theory is None or math.isnan(first["theory"]) else _by_theory(sweep, first["theory"])
        )
        return f"{where}{what} crosses 0 at {over.name} {number(first['measured'])}{theory}."
    low, high = known.loc[known[sweep.shown].idxmin()], known.loc[known[sweep.shown].idxmax()]
    ends = [f"{number(end[sweep.shown])} at {_point(sweep, end.to_dict())}" for end in (low, high)]
    return f"The {what} goes from {ends[0]} to {ends[1]}."


def _by_theory(sweep: Sweep, at: float) -> str:
    return "" if sweep.theory is None else f"; by {sweep.theory.theory} at {number(at)}"


def _where(sweep: Sweep, row: dict[str, object]) -> str:
    over = over_of(sweep)
    said = _point(sweep, row, None if over is None else over.name)
    return f"At {said} the " if said else "The "


def _point(sweep: Sweep, row: dict[str, object], without: str | None = None) -> str:
    """`gain 0.5 and noise 0.1`."""
    names = [axis.name for axis in sweep.axes if axis.name != without]
    return text.listed([f"{name} is {_shown(row[name])}" for name in names]).replace(" is ", " ")


def _shown(value: object) -> str:
    return shown(value) if isinstance(value, float | int | str) and value == value else "none"


def summary(sweep: Sweep) -> list[str]:
    """The answer, the other crossings, and what is not there."""
    said = [answer(sweep)]
    found = crossings(sweep)
    met = found[found["measured"].notna()] if len(found) else found
    for row in met.iloc[1 : MOST + 1].to_dict("records"):
        at = row["theory"]
        theory = "" if math.isnan(at) else _by_theory(sweep, at).replace(";", ",")
        said.append(f"At {_point(sweep, row, _over_name(sweep))}: {number(row['measured'])}{theory}.")
    if len(met) > MOST + 1:
        said.append(f"{len(met) - MOST - 1} more crossings are left out here.")
    if len(met) and len(met) < len(found):
        said.append(f"It does not cross 0 in {len(found) - len(met)} of {len(found)} rows of the grid.")
    if sweep.problems:
        first = next(problem for problem in sweep.frame()["problem"] if problem)
        said.append(f"{text.counted(sweep.problems, 'measurement')} gave no number, the first: {first}")
    if not sweep.is_whole:
        said.append(
            f"{sweep.grid.size - len(sweep.places)} of {sweep.grid.size} measurements are not there yet."
        )
    return said


def _over_name(sweep: Sweep) -> str | None:
    over = over_of(sweep)
    return None if over is None else over.name
