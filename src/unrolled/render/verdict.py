"""A verdict on a profile of gradients, in two sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from unrolled.render.gradflow_summary import VERBS
from unrolled.render.gradflow_tables import decades
from unrolled.render.text import counted, significant

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.gradients.verdict import Verdict


def answer(verdict: Verdict) -> str:
    """`The gradient vanishes: × 0.654 a step, half of it every 1.64 steps, heard 13 steps back.`"""
    known = []
    if math.isfinite(verdict.decades_per_step):
        known.append(f"× {significant(10**verdict.decades_per_step)} a step")
    if math.isfinite(verdict.half_life):
        known.append(f"half of it every {significant(verdict.half_life)} steps")
    if verdict.horizon is not None:
        known.append(f"heard {_horizon(verdict)} back")
    return f"The gradient {VERBS[verdict.word][0]}{': ' if known else ''}{', '.join(known)}."


def line(verdict: Verdict) -> str:
    """`vanishing, heard 13 steps back, -0.184 decades per step`."""
    heard = "" if verdict.horizon is None else f", heard {_horizon(verdict)} back"
    slope = verdict.decades_per_step
    return f"{verdict.word}{heard}{'' if math.isnan(slope) else f', {decades(slope, 3)} decades per step'}"


def _horizon(verdict: Verdict) -> str:
    least = "at least " if verdict.horizon_is_censored else ""
    return f"{least}{counted(verdict.horizon or 0, 'step')}"


def show(verdict: Verdict, screen: Console) -> None:
    """The verdict, and where along the way it comes from."""
    screen.print(answer(verdict), markup=False)
    near, middle, far = (decades(slope, 3) for slope in verdict.thirds)
    screen.print(
        f"Decades per step in the third next to the last step: {near}; in the middle: {middle}; beyond: {far}."
    )
