"""A run in two sentences, from the tidy frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SINGULAR = {"fused": "the fused module", "own loop": "the cell's own loop"}
PLURAL = {"fused": "fused modules", "own loop": "cells' own loops"}


def summary(frame: pd.DataFrame) -> str:
    """How each contender compares with its reference over the run, then what the noise was and what is open."""
    timed = frame[frame["rounds"] > 0]
    contenders = timed[timed["implementation"] != timed["reference"]]
    if timed.empty:
        return "Nothing was timed."
    first = " ".join(
        _first_sentence(rows[rows["implementation"] != reference], str(reference))
        for reference, rows in timed.groupby("reference", sort=False)
    )
    return f"{first} {_second_sentence(timed, contenders)}{_failures(frame)}"


def _first_sentence(contenders: pd.DataFrame, reference: str) -> str:
    if contenders.empty:
        return f"Only the {PLURAL[reference]} were timed, against themselves."
    said = []
    for name, rows in contenders.groupby("implementation", sort=False):
        counts = rows["verdict"].value_counts()
        geometric_mean = float(np.exp(np.log(rows["ratio"]).mean()))
        said.append(
            f"{name} took {geometric_mean:.2f} times as long (geometric mean over "
            f"{len(rows)} workloads, {rows['ratio'].min():.2f} to {rows['ratio'].max():.2f}; "
            f"slower in {counts.get('slower', 0)}, faster in {counts.get('faster', 0)})"
        )
    return f"Against {SINGULAR[reference]}, {'; '.join(said)}."


def _second_sentence(timed: pd.DataFrame, contenders: pd.DataFrame) -> str:
    references = list(timed["reference"].unique())
    reference = references[0].capitalize() if len(references) == 1 else "Each reference"
    floor = 100 * (timed["noise_floor"].median() - 1)
    undecided = int(contenders["verdict"].eq("unclear").sum())
    return (
        f"{reference} against itself stayed within ±{floor:.1f} % in the median workload, and "
        f"{undecided} of {len(contenders)} comparisons are unclear at this noise"
        + ("; a larger --budget decides more of them." if undecided else ".")
    )


def _failures(frame: pd.DataFrame) -> str:
    failed = frame[frame["rounds"] == 0]
    if failed.empty:
        return ""
    first = failed.iloc[0]
    return (
        f" {len(failed)} got no time, the first {first['implementation']} on {first['cell']} "
        f"L{first['num_layers']} B{first['batch_size']} {first['phase']} ({first['verdict']}: "
        f"{first['reason']})."
    )
