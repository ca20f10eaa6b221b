"""A study of spectra: its tables, its frames, its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render.spectrum_summary import spectrum_summary
from unrolled.render.spectrum_tables import (
    CARRYING_NOTE,
    GAIN_NOTE,
    SPECTRUM_NOTE,
    carrying_table,
    gain_table,
    spectrum_table,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from unrolled.spectrum.study import SpectrumStudy


def show(study: SpectrumStudy, screen: Console) -> None:
    """The tables and what they amount to."""
    table, carrying, gains = study.table_frame(), study.carrying_frame(), study.gain_mean_frame()
    screen.print(spectrum_table(table, screen.width, study.units))
    screen.print(SPECTRUM_NOTE, style="dim")
    screen.print()
    if len(carrying):
        screen.print(carrying_table(carrying, screen.width, study.units))
        screen.print(CARRYING_NOTE, style="dim")
        screen.print()
    if len(gains):
        screen.print(gain_table(gains))
        screen.print(GAIN_NOTE, style="dim")
        screen.print()
    screen.print(spectrum_summary(table, carrying, study.transition_frame(), study.notes()))


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

    return draw_spectrum(
        study.mean_spectrum_frame(),
        study.fan_frame(),
        study.gain_mean_frame(),
        study.line_frame(),
        study.transition_frame(),
        folder,
        study.describe(),
        study.describe_gains() if study.curves else "",
    )
