"""One profile: the verdict on it, and its row of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.gradients.flow import GradientFlow
from unrolled.render import verdict
from unrolled.render.gradflow_summary import short
from unrolled.render.gradflow_tables import reach_table
from unrolled.render.gradient_flow import reach_of

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.gradients.profile import Profile


def line(profile: Profile) -> str:
    """`vanishing, 13 of 200 steps back; rnn.l0, T = 201`."""
    row = reach_of(_alone(profile)).iloc[0]
    return f"{short(row)}; {profile.label}, T = {profile.steps}"


def show(profile: Profile, screen: Console) -> None:
    """The verdict, and the row."""
    screen.print(verdict.answer(profile.verdict), markup=False)
    screen.print()
    screen.print(reach_table(reach_of(_alone(profile)), screen.width))


def _alone(profile: Profile) -> GradientFlow:
    return GradientFlow((profile,), {})
