"""The flow of the gradient back through one model: how far back it hears, a row for each profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from unrolled.gradients.reach import Reach
from unrolled.render.gradflow_summary import answer as answer_of
from unrolled.render.gradflow_summary import farthest, short
from unrolled.render.gradflow_tables import decades, reach_table

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.gradients.flow import GradientFlow

MOST = 40  # profiles that are listed


def reach_of(flow: GradientFlow) -> pd.DataFrame:
    """A row per profile, as in a study of one network."""
    frame = pd.DataFrame(Reach("", "none", flow).rows(True))
    frame["horizon"] = frame["horizon"].astype(float)  # NaN where there is none
    return frame


def answer(flow: GradientFlow) -> str:
    """The one sentence."""
    return answer_of(reach_of(flow))


def line(flow: GradientFlow) -> str:
    """`vanishing, 13 of 200 steps back; rnn.l0 and 1 more, T = 201`."""
    frame = reach_of(flow)
    best, more = farthest(frame), f" and {len(frame) - 1} more" if len(frame) > 1 else ""
    return f"{short(best)}; {best['profile']}{more}, T = {best['steps']}"


def show(flow: GradientFlow, screen: Console) -> None:
    """The answer, the profiles, the gradient of the parameters, and what else was seen."""
    frame = reach_of(flow)
    screen.print(answer_of(frame), markup=False)
    screen.print()
    screen.print(reach_table(frame[:MOST], screen.width))
    if len(frame) > MOST:
        screen.print(f"and {len(frame) - MOST} more: .summary() has all of them")
    screen.print()
    screen.print(parameters(flow))
    for note in flow.notes:
        screen.print(f"{note.rstrip('.')}.", markup=False)


def parameters(flow: GradientFlow) -> str:
    """`All parameters: log10 of the norm of their gradient is 0.0, and was +1.3 before norm:1.`"""
    said = f"All parameters: log10 of the norm of their gradient is {decades(flow.log10_norm)}"
    if (clip := flow.clip) is None or not clip.entries:
        return f"{said}."
    mode = clip.mode if clip.bound is None else f"{clip.mode}:{clip.bound:g}"
    return f"{said}, and was {decades(clip.log10_before)} before {mode}."
