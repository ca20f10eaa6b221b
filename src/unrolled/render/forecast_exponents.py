"""The exponents of closed loops beside the truth's: a table, and what they come to in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from unrolled.forecast.motion import MOTIONS
from unrolled.render.columns import below, compact_table, fits
from unrolled.render.text import counted, significant

if TYPE_CHECKING:
    import pandas as pd

    from unrolled.forecast.truth import Truth

EXPONENTS_NOTE = (
    "λ: Lyapunov exponents of the network that is fed its own predictions, from the largest down, means over loops "
    "begun after different stretches of the truth; below them the standard error over these loops, or the range over "
    "seeds. A network has directions of its own besides those of the truth, and no need of the truth's fast ones."
)
MOST = 4  # exponents that the table has columns for, where the terminal has room
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
# Of numbers below it no more than thousandths are shown: no run is long enough for them.
FINEST = 0.1


@dataclass(frozen=True)
class Loops:
    """The closed loops of one variant: a word for each, and `rates`, a row per seed and exponent."""

    network: str
    clip: str
    motions: list[str]
    rates: pd.DataFrame

    @property
    def name(self) -> str:
        """The network and the clip."""
        return f"{self.network}, {'no clip' if self.clip == 'none' else self.clip}"

    def of(self, index: int) -> pd.DataFrame:
        """The exponents of one index, of each seed whose loops do not all blow up."""
        return self.rates[(self.rates["index"] == index) & self.rates["mean"].notna()]

    @property
    def largest(self) -> float:
        """The median over seeds; NaN where there is none."""
        return float(self.of(1)["mean"].median()) if len(self.of(1)) else math.nan

    def moves(self, between: str = ", ") -> str:
        """`chaotic`, or how many loops do what: `14 chaotic, 2 blows up`."""
        counts = {word: self.motions.count(word) for word in MOTIONS if word in self.motions}
        if len(counts) == 1:
            return next(iter(counts))
        return between.join(f"{number} {word}" for word, number in counts.items())


def loops_of(exponents: pd.DataFrame) -> Iterator[Loops]:
    """Each variant, in order. In `rates` `mean` and standard `error` are over loops that do not blow up."""
    for (network, clip), part in exponents.groupby(["network", "clip"], sort=False):
        rows = []
        for (seed, index), group in part.groupby(["seed", "index"], sort=False):
            values = group["per_time"].dropna().to_numpy()
            spread = values.std(ddof=1) if len(values) > 1 and np.isfinite(values).all() else math.nan
            mean = values.mean() if len(values) else math.nan
            error = spread / math.sqrt(max(1, len(values)))
            rows.append({"seed": seed, "index": index, "mean": mean, "error": error})
        motions = list(part.loc[part["index"] == 1, "motion"])
        yield Loops(str(network), str(clip), motions, type(part)(rows))


def unit(truth: Truth | None) -> str:
    """Of all exponents of a study."""
    return f"nats per {truth.unit if truth else 'step'}"


def exponents_table(exponents: pd.DataFrame, truth: Truth | None, width: int) -> Group:
    """The truth's exponents, then a row for each variant: how its loops move, and as many exponents as fit."""
    most = min(MOST, max(int(exponents["index"].max()), len(truth.exponents) if truth else 0))
    tables = (_table(exponents, truth, count) for count in range(most, 0, -1))
    shown = next((table for table in tables if fits(table, width)), _table(exponents, truth, 1))
    seeds = exponents["seed"].nunique()
    over = f", medians over {seeds} seeds" if seeds > 1 else ""
    return below(f"Running free: Lyapunov exponents, {unit(truth)}{over}", shown)


def _table(exponents: pd.DataFrame, truth: Truth | None, count: int) -> Table:
    table = compact_table("")
    for name in ("network", "clip", "runs free"):
        table.add_column(name)
    for k in range(1, count + 1):
        table.add_column(f"λ{str(k).translate(SUBSCRIPTS)}", justify="right")
    if truth:
        known = [figure(value) for value in truth.exponents[:count]]
        known += [""] * (count - len(known))
        table.add_row(*map(Text, (truth.name, "", "the truth", *known)), style="bold")
    for loops in loops_of(exponents):
        clip = "–" if loops.clip == "none" else loops.clip
        cells = [_cell(loops.of(k)) for k in range(1, count + 1)]
        table.add_row(*map(Text, (loops.network, clip, loops.moves("\n"), *cells)))
    return table


def _cell(rows: pd.DataFrame) -> str:
    """The median over seeds, below it their range; of a single seed its standard error over loops."""
    if rows.empty:
        return "–"
    values, error = rows["mean"], float(rows["error"].iloc[0])
    if len(rows) > 1:
        return f"{figure(values.median())}\n{figure(values.min())} to {figure(values.max())}"
    return figure(values.iloc[0]) + (f"\n± {figure(error)}" if math.isfinite(error) else "")


def figure(value: float) -> str:
    """Three digits and a sign of minus: `0.419`, `−14.6`, `0.003`."""
    if math.isinf(value):
        return "−inf" if value < 0 else "inf"
    text = significant(value) if abs(value) >= FINEST else f"{value:.3f}"
    return text.replace("-", "−") if float(text) else "0.000"


def exponents_words(exponents: pd.DataFrame, truth: Truth | None) -> list[str]:
    """For each variant how it moves when it runs free, and its largest exponent beside the truth's."""
    return [
        f"{loops.name}, runs free: {loops.moves()}"
        + (
            "."
            if math.isnan(loops.largest)
            else f"; the largest exponent is {_beside(figure(loops.largest), truth)}."
        )
        for loops in loops_of(exponents)
    ]


def _beside(found: str, truth: Truth | None) -> str:
    known = f", that of the {truth.name} {figure(truth.exponents[0])}" if truth else ""
    return f"{found} {unit(truth)}{known}"


def exponents_title(exponents: pd.DataFrame, truth: Truth | None) -> str:
    """The largest exponents of all variants, and the truth's."""
    found = [loops.largest for loops in loops_of(exponents)]
    known = sorted(value for value in found if not math.isnan(value))
    if not known:
        return "Every closed loop blows up"
    low, high = figure(known[0]), figure(known[-1])
    whose = "of the closed loop" if len(found) == 1 else f"of {counted(len(found), 'network')} in a closed loop"
    return f"The largest exponent {whose} is {_beside(low if low == high else f'{low} to {high}', truth)}"
