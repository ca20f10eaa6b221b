"""The singular values of the Jacobians of one model, or of one of its systems: how many directions carry how far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from unrolled.render.spectrum_tables import carrying_table
from unrolled.render.text import counted
from unrolled.spectrum.drive import GIVEN
from unrolled.spectrum.singular_record import JacobianSingularValues, SingularValues

if TYPE_CHECKING:
    from rich.console import Console


def carrying_of(record: JacobianSingularValues | SingularValues) -> pd.DataFrame:
    """A row per system and lag, as in a study of one network."""
    parts = (record,) if isinstance(record, SingularValues) else record.parts
    labels = {"network": "", "drive": GIVEN}
    return pd.concat(
        [part.by_lag().assign(**labels, profile=part.system.label) for part in parts], ignore_index=True
    )


def answer(record: JacobianSingularValues | SingularValues) -> str:
    """Of the module as a whole: `After 100 steps 3.2 of 64 directions still carry 1/1000 of what went in.`"""
    part = record if isinstance(record, SingularValues) else record.part()
    last = part.by_lag().iloc[-1]
    left, size, steps = last["carrying"] * last["size"], last["size"], counted(last["lag"], "step")
    if not left:
        return f"After {steps} none of {size:.0f} directions carries 1/1000 of what went in."
    shown, carry = f"{left:.1f}".removesuffix(".0"), "carries" if left == 1 else "carry"
    return f"After {steps} {shown} of {size:.0f} directions still {carry} 1/1000 of what went in."


def line(record: JacobianSingularValues | SingularValues) -> str:
    """The answer, and of what."""
    systems = [record.system] if isinstance(record, SingularValues) else [part.system for part in record.parts]
    more = f" and {len(systems) - 1} more" if len(systems) > 1 else ""
    said = answer(record).rstrip(".")
    return f"{said[0].lower()}{said[1:]}; {systems[0].label}{more}"


def show(record: JacobianSingularValues | SingularValues, screen: Console) -> None:
    """The answer, the directions that carry, and what could not be measured."""
    screen.print(answer(record), markup=False)
    screen.print()
    screen.print(carrying_table(carrying_of(record), screen.width, base="decades"))
    for note in getattr(record, "notes", ()):
        screen.print(f"{note.rstrip('.')}.", markup=False)
