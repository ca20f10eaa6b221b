"""The Lyapunov exponents of one model, or of one of its systems: chaotic or not, a row for each system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from unrolled.render.spectrum_summary import answer as answer_of
from unrolled.render.spectrum_tables import nats, spectrum_table
from unrolled.render.text import counted
from unrolled.spectrum.drive import GIVEN
from unrolled.spectrum.lyapunov_record import Exponents, LyapunovSpectrum
from unrolled.spectrum.result import SpectrumResult

if TYPE_CHECKING:
    from rich.console import Console


def table_of(record: LyapunovSpectrum | Exponents) -> pd.DataFrame:
    """A row per system, as in a study of one network."""
    spectrum = LyapunovSpectrum((record,), {}, ()) if isinstance(record, Exponents) else record
    return pd.DataFrame(SpectrumResult("", GIVEN, spectrum).rows(True))


def answer(record: LyapunovSpectrum | Exponents) -> str:
    """The one sentence."""
    return answer_of(table_of(record))


def line(record: LyapunovSpectrum | Exponents) -> str:
    """`forgetting, λ₁ = -0.424 nats a step; rnn.l0 and 1 more, T = 160 after 40 of warm-up`."""
    table = table_of(record)
    most = table.loc[table["largest"].idxmax()]
    more = f" and {len(table) - 1} more" if len(table) > 1 else ""
    return (
        f"{most['dynamics']}, λ₁ = {nats(most['largest'])} nats a step; {most['profile']}{more}, T = {most['steps']} "
        f"after {most['warm_up']} of warm-up"
    )


def show(record: LyapunovSpectrum | Exponents, screen: Console) -> None:
    """The answer, the exponents of each system, and what could not be measured."""
    table = table_of(record)
    first = table.iloc[0]
    screen.print(answer_of(table), markup=False)
    screen.print()
    screen.print(spectrum_table(table, screen.width))
    screen.print()
    steps, samples, count = (int(first[name]) for name in ("steps", "samples", "k"))
    screen.print(
        f"Means over {counted(steps, 'step')} after {first['warm_up']} of warm-up and over "
        f"{counted(samples, 'sample')}; {counted(count, 'exponent')} of each."
    )
    for note in getattr(record, "notes", ()):
        screen.print(f"{note.rstrip('.')}.", markup=False)
