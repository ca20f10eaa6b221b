"""A study of spectra: its words, its tables, its frames, its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render import spectrum_summary
from unrolled.render.spectrum_tables import (
    CARRYING_NOTE,
    GAIN_NOTE,
    SPECTRUM_NOTE,
    carrying_table,
    gain_table,
    spectrum_table,
)
from unrolled.render.starts import start_note, untrained
from unrolled.render.text import gist

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.spectrum.study import SpectrumStudy


def answer(study: SpectrumStudy) -> str:
    """The one sentence."""
    table = study.table_frame()
    if len(table):
        return spectrum_summary.answer(table)
    return spectrum_summary.explained(table, study.carrying_frame(), study.transition_frame())[0]


def line(study: SpectrumStudy) -> str:
    """What the answer comes to, and what of."""
    parts = [part for result in study.results for part in result.systems(False)]
    steps = f", T = {parts[0].steps} after {parts[0].warm_up} of warm-up" if parts else ""
    return f"{gist(answer(study))}; {study.networks[0].sizes}{steps}"


def show(study: SpectrumStudy, screen: Console, explain: bool = False) -> None:
    """The tables and what they amount to; with `explain` also what their columns mean."""
    table, carrying, gains = study.table_frame(), study.carrying_frame(), study.gain_mean_frame()
    made = []
    if len(table):
        note = f"{start_note(study.networks)} {SPECTRUM_NOTE}".strip()
        made.append((spectrum_table(table, screen.width, study.units), note))
    if len(carrying):
        made.append((carrying_table(carrying, screen.width, study.units), CARRYING_NOTE))
    if len(gains):
        made.append((gain_table(gains), GAIN_NOTE))
    for each, note in made:
        screen.print(each)
        if explain:
            screen.print(note, style="dim")
        screen.print()
    transitions = study.transition_frame()
    screen.print(spectrum_summary.spectrum_summary(table, carrying, transitions, study.notes(), explain))


def frames(study: SpectrumStudy) -> dict[str, pd.DataFrame]:
    """Every exponent, every singular value, and the exponents over gain."""
    return {
        "spectrum": study.spectrum_frame(),
        "singular_values": study.singular_frame(),
        "gain": study.gain_frame(),
    }


def draw(study: SpectrumStudy, folder: Path) -> list[Path]:
    """Exponents, singular values over lag, and the largest exponent over gain."""
    from unrolled.render.spectrum_plots import draw_spectrum

    names = {result.network for result in study.results}
    swept = {curve.network for curve in study.curves}
    shown = [network for network in study.networks if network.name in names]
    return draw_spectrum(
        study.mean_spectrum_frame(),
        study.table_frame(),
        study.fan_frame(),
        study.gain_mean_frame(),
        study.line_frame(),
        study.transition_frame(),
        folder,
        study.describe(),
        study.describe_gains() if study.curves else "",
        start_note(shown),
        start_note([network for network in study.networks if network.name in swept]),
        untrained(shown),
    )
