"""A run in a few sentences, from the tidy frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.render import text
from unrolled.render.speed_axes import labels, row_axes
from unrolled.render.speed_reading import Quantity, quantity, read
from unrolled.speed.statistics import TELLS_WITHIN

if TYPE_CHECKING:
    import pandas as pd

    from unrolled.speed.load import Load

SINGULAR = {"fused": "the fused module", "own loop": "the cell's own loop"}
PLURAL = {"fused": "fused modules", "own loop": "cells' own loops"}


def summary(frame: pd.DataFrame, load: Load | None = None, as_: str = "ratio") -> str:
    """How each contender compares with its reference over the run, then what the noise was and what is open.

    `load` is that of the machine during the run.
    """
    frame, shown = read(frame, as_), quantity(as_)
    timed = frame[frame["rounds"] > 0]
    contenders = timed[timed["implementation"] != timed["reference"]]
    busy = load is not None and load.is_busy
    said = []
    if timed.empty:
        said.append("Nothing was timed, so there is nothing to draw.")
    for reference, rows in timed.groupby("reference", sort=False):
        said.append(_against(rows[rows["implementation"] != reference], str(reference), shown))
    if len(timed):
        said.append(_noise(timed, contenders, busy))
    said += [*_left_out(timed), *_unchecked(contenders), *_failures(frame)]
    if busy:
        said.append(f"The machine was busy during the run: {load}; what is unclear needs a quiet one.")
    return " ".join(said)


def _against(contenders: pd.DataFrame, reference: str, shown: Quantity) -> str:
    if contenders.empty:
        return f"Only the {PLURAL[reference]} were timed, against themselves."
    said, nothing = [], []
    for name, rows in contenders.groupby("implementation", sort=False):
        told = rows[rows["told"]]
        if told.empty:
            nothing.append(str(name))
            continue
        mean = f"{np.exp(np.log(told['ratio']).mean()):.2f}"
        said.append(f"{shown.sentence.format(name=name, mean=mean)} ({_over(told, len(rows))})")
    sentences = [f"Against {SINGULAR[reference]}, {'; '.join(said)}."] if said else []
    sentences += [f"Nothing can be told about {' and '.join(nothing)}."] if nothing else []
    return " ".join(sentences)


def _over(told: pd.DataFrame, of: int) -> str:
    """What a mean is over, and how far that goes."""
    if of == 1:
        return str(told["verdict"].iloc[0])
    workloads = f"{of} workloads" if len(told) == of else f"the {len(told)} of {of} workloads that can be told"
    counts = told["verdict"].value_counts()
    return (
        f"geometric mean over {workloads}, {told['ratio'].min():.2f} to {told['ratio'].max():.2f}; "
        f"slower in {counts.get('slower', 0)}, faster in {counts.get('faster', 0)}"
    )


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
