"""Plots of Newton's iterations: over the length, and over the largest exponent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from unrolled.render.parallel_summary import answer
from unrolled.render.style import DIM, finish, house_style, labelled, line_look

if TYPE_CHECKING:
    from unrolled.over_time.record import Parallel


def lengths_figure(study: Parallel) -> Figure:
    """K over T, both logarithmic: full Jacobians filled, diagonal ones dashed."""
    with house_style():
        figure = Figure(figsize=(6.6, 3.8), layout="constrained")
        panel = figure.subplots()
        draw_lengths(study, panel)
        note = "Full lines: full Jacobians. Dashed lines: their diagonals alone, which take more."
        return finish(figure, answer(study), note, study.describe(), labelled([panel]))


def draw_lengths(study: Parallel, panel: Axes, diagonal: bool = True) -> None:
    """The same in a panel."""
    lengths = np.array(study.lengths)
    panel.plot(lengths, lengths, color=DIM, linewidth=1.0, linestyle=":", label="K = T: a step at a time")
    for k, found in enumerate(study.measured):
        look = line_look(k)
        counts = np.maximum(found.full.counts, 1)
        panel.plot(lengths, counts, **look, markersize=5, linewidth=1.3, label=found.network)
        if diagonal:
            counts = np.maximum(found.diagonal.counts, 1)
            panel.plot(
                lengths, counts, color=look["color"], marker=look["marker"], markerfacecolor="none", markersize=3.5,
                linewidth=0.9, linestyle="--",
            )  # fmt: skip
    given_up = [
        (length, found.full.counts[k])
        for found in study.measured
        for k, length in enumerate(study.lengths)
        if not found.full.converged[k]
    ]
    _mark(panel, given_up)
    _logarithmic(panel, "x")
    _logarithmic(panel, "y")
    panel.xaxis.set_major_locator(FixedLocator(list(study.lengths)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("T, steps")
    panel.set_ylabel("K, iterations")
    panel.set_ylim(bottom=0.9)


def exponent_figure(study: Parallel) -> Figure:
    """K at the longest T over the largest exponent, with its interval and the line at 0."""
    with house_style():
        figure = Figure(figsize=(6.6, 3.4), layout="constrained")
        panel = figure.subplots()
        panel.axvline(0, color=DIM, linewidth=1.0, linestyle="--", label="exponent 0")
        panel.axhline(study.lengths[-1], color=DIM, linewidth=1.0, linestyle=":", label="K = T")
        for k, found in enumerate(study.measured):
            look, exponent = line_look(k), found.exponent
            if np.isfinite(exponent.high - exponent.low):
                ends = [exponent.low, exponent.high]
                panel.plot(ends, [max(found.full.counts[-1], 1)] * 2, color=look["color"], linewidth=1.3)
            if np.isfinite(exponent.value):
                panel.plot(
                    exponent.value, max(found.full.counts[-1], 1), **look, linestyle="", markersize=6,
                    label=found.network,
                )  # fmt: skip
        last = [
            (found.exponent.value, found.full.counts[-1])
            for found in study.measured
            if not found.full.converged[-1]
        ]
        _mark(panel, last)
        _logarithmic(panel, "y")
        panel.set_xlabel("largest Lyapunov exponent, nats per step")
        panel.set_ylabel(f"K at T = {study.lengths[-1]}, iterations")
        panel.set_ylim(bottom=0.9)
        note = "Full Jacobians. Bars: 99 % intervals of the exponents."
        return finish(figure, answer(study), note, study.describe(), labelled([panel]))


def _mark(panel: Axes, given_up: Sequence[tuple[float, int]]) -> None:
    """Arrows up from what was given up."""
    if given_up:
        x, counts = zip(*given_up, strict=True)
        above = 1.35 * np.array(counts)
        panel.plot(
            x, above, color=DIM, marker=r"$\uparrow$", linestyle="", markersize=8, label="given up: K is more"
        )


def _logarithmic(panel: Axes, axis: str) -> None:
    scale, of = (panel.set_xscale, panel.xaxis) if axis == "x" else (panel.set_yscale, panel.yaxis)
    scale("log")
    of.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
