"""A run in words, from the tidy frame: the answer, a line for each cell and contender, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.render import text
from unrolled.render.speed_axes import labels, row_axes
from unrolled.render.speed_reading import Quantity, quantity, read
from unrolled.render.text import listed
from unrolled.speed.statistics import TELLS_WITHIN

if TYPE_CHECKING:
    import pandas as pd

    from unrolled.speed.load import Load

SINGULAR = {"fused": "the fused module", "own loop": "the cell's own loop"}
PLURAL = {"fused": "fused modules", "own loop": "cells' own loops"}


def summary(frame: pd.DataFrame, load: Load | None = None, as_: str = "ratio", explain: bool = False) -> str:
    """The answer in a line, then one for each cell and contender, and what failed or was disturbed.

    `load` is that of the machine during the run. With `explain` also what the noise was and what is open.
    """
    whole, shown = read(frame, as_), quantity(as_)
    timed, contenders = _timed(whole)
    busy = load is not None and load.is_busy
    lines = [answer(frame, as_), *_lines(contenders, shown), *_unchecked(contenders), *_failures(whole)]
    if busy:
        lines.append(f"The machine was busy during the run: {load}; what is unclear needs a quiet one.")
    if explain and len(timed):
        lines += [_noise(timed, contenders, busy), *_left_out(timed)]
    return "\n".join(lines)


def _timed(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All rows with a time, and those of them that are no reference's."""
    timed = frame[frame["rounds"] > 0]
    return timed, timed[timed["implementation"] != timed["reference"]]


def answer(frame: pd.DataFrame, as_: str = "ratio") -> str:
    """`Against the fused module, cells took 2.03 times as long and hoisted 1.60 times.`"""
    timed, contenders = _timed(read(frame, as_))
    if timed.empty:
        return "Nothing was timed, so there is nothing to draw."
    said = []
    for reference in timed["reference"].unique():
        rows = contenders[contenders["reference"] == reference]
        said.append(_against(rows, str(reference), quantity(as_)))
    return "; ".join([said[0], *(each[0].lower() + each[1:] for each in said[1:])]) + "."


def _against(contenders: pd.DataFrame, reference: str, shown: Quantity) -> str:
    if contenders.empty:
        return f"Only the {PLURAL[reference]} were timed, against themselves"
    means, nothing = {}, []
    for name, rows in contenders.groupby("implementation", sort=False):
        told = rows[rows["told"]]
        if told.empty:
            nothing.append(str(name))
        else:
            means[str(name)] = _mean(told)
    if not means:
        return f"Against {SINGULAR[reference]}, nothing can be told about {listed(nothing)}"
    (first, mean), *others = means.items()
    said = [shown.sentence.format(name=first, mean=mean), *(f"{name} {mean} times" for name, mean in others)]
    untold = f"; nothing can be told about {listed(nothing)}" if nothing else ""
    return f"Against {SINGULAR[reference]}, {listed(said)}{untold}"


def _mean(told: pd.DataFrame) -> str:
    """The geometric one."""
    return f"{np.exp(np.log(told['ratio']).mean()):.2f}"


def _lines(contenders: pd.DataFrame, shown: Quantity) -> list[str]:
    """For each cell and contender, how it compares over the workloads and how surely."""
    lines = []
    for (cell, name), rows in contenders.groupby(["cell", "implementation"], sort=False):
        told = rows[rows["told"]]
        if told.empty:
            lines.append(f"{cell}: nothing can be told about {name}.")
        else:
            said = shown.sentence.format(name=name, mean=_mean(told))
            lines.append(f"{cell}: {said}{_over(told, rows)}.")
    return lines


def _over(told: pd.DataFrame, rows: pd.DataFrame) -> str:
    """What a mean is over, and how far that goes."""
    counts = rows["verdict"].value_counts()
    if len(rows) == 1:
        return f", {rows['verdict'].iloc[0]}"
    workloads = f"{len(rows)} workloads"
    if len(told) < len(rows):
        workloads = f"the {len(told)} of {workloads} that can be told"
    words = [f"{word} in {counts[word]}" for word in ("slower", "faster", "same", "unclear") if word in counts]
    return f", {told['ratio'].min():.2f} to {told['ratio'].max():.2f} over {workloads}: {', '.join(words)}"


def _noise(timed: pd.DataFrame, contenders: pd.DataFrame, busy: bool) -> str:
    references = list(timed["reference"].unique())
    reference = references[0].capitalize() if len(references) == 1 else "Each reference"
    floor = timed["noise_floor"].median()
    if floor > TELLS_WITHIN:
        said = (
            f"{reference} differed from itself by more than a factor of {TELLS_WITHIN:g} in the median workload"
        )
    else:
        said = f"{reference} against itself stayed within ±{text.percent(floor - 1)} in the median workload"
    undecided = int(contenders["verdict"].eq("unclear").sum())
    if undecided:
        said += f", and {undecided} of {len(contenders)} comparisons are unclear at this noise"
        said += "" if busy else "; --until-decided SECONDS decides more of them"
    elif len(contenders):
        said += ", and no comparison is unclear"
    return f"{said}."


def _left_out(timed: pd.DataFrame) -> list[str]:
    left_out, rounds = int(timed["left_out"].sum()), int(timed["rounds"].sum())
    if not left_out:
        return []
    return [f"{left_out:,} of {rounds:,} rounds were left out, since the process was pre-empted in them."]


def _unchecked(contenders: pd.DataFrame) -> list[str]:
    """Of what was timed in several passes; whatever had a single one was never to be checked after it."""
    unchecked = int((contenders["recheck_error"].isna() & (contenders["passes"] > 1)).sum())
    if not unchecked:
        return []
    were = f"{unchecked} results were" if unchecked > 1 else "1 result was"
    return [f"{were} not checked again after the clock, as the run did not come to its end."]


def _failures(frame: pd.DataFrame) -> list[str]:
    failed = frame[frame["rounds"] == 0]
    if failed.empty:
        return []
    axes, first = row_axes(frame), failed.iloc[0]
    sizes = " ".join(labels(axes, tuple(first[axes])))
    return [
        f"{len(failed)} got no time, the first {first['implementation']} on {first['cell']} {sizes} "
        f"{first['phase']} ({first['verdict']}: {first['reason']})."
    ]
