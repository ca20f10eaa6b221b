"""The plot of closed loops' exponents beside the truth's, a panel for each variant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unrolled.render.forecast_exponents import exponents_title, unit
from unrolled.render.forecast_plots import panels_of
from unrolled.render.forecast_variants import Variant, sameness, variants_of
from unrolled.render.style import COLOURS, finish, house_style, save

if TYPE_CHECKING:
    import pandas as pd

    from unrolled.forecast.truth import Truth

TRUTH, FOUND = "#000000", COLOURS[0]


def draw_exponents(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    exponents: pd.DataFrame,
    truth: Truth | None,
    folder: Path,
    foot: str,
) -> list[Path]:
    """The plot into `folder`, as PNG and SVG. Gives the paths."""
    return save(exponents_figure(exponents, variants_of(runs, history), truth, foot), folder, "exponents")


def exponents_figure(
    exponents: pd.DataFrame, variants: Sequence[Variant], truth: Truth | None, foot: str
) -> Figure:
    """Exponents over their index: the median over loops and seeds, and the least and largest of them."""
    kept = exponents[np.isfinite(exponents["per_time"])]
    several = "loops and seeds" if exponents["seed"].nunique() > 1 else "loops"

    def draw(panel: Axes, variant: Variant, _: pd.DataFrame) -> None:
        """The exponents of one variant, and those of the truth."""
        panel.axhline(0, color="#999999", linewidth=0.8, zorder=1)
        groups = variant.rows(kept).groupby("index")["per_time"]
        middle = groups.median()
        bars = [middle - groups.min(), groups.max() - middle]
        panel.errorbar(
            middle.index.to_numpy(), middle.to_numpy(), yerr=np.array(bars), color=FOUND, marker="o", markersize=4.5,
            linewidth=1.1, elinewidth=1.1, capsize=3, label=f"the network: median over {several}, least to largest",
        )  # fmt: skip
        if truth:
            panel.plot(
                range(1, len(truth.exponents) + 1), truth.exponents, color=TRUTH, marker="X", markersize=8,
                markerfacecolor="none", linestyle="none", zorder=4, label=f"the truth: {truth.name}",
            )  # fmt: skip
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    with house_style():
        y = f"Lyapunov exponent\n({unit(truth)})"
        figure = panels_of(variants, exponents, draw, y, "index, from the largest down")
        said = ["Closed loop: each prediction is the next input."]
        if len(kept) < len(exponents):
            said += ["Loops that blow up and directions that are lost have no mark."]
        said += [sameness(variants)]
        title = exponents_title(exponents, truth)
        return finish(figure, title, " ".join(filter(None, said)), foot)
