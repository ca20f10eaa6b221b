"""Plots of a study of learning: success over delay, and the delay learned against the horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from unrolled.learning.statistics import SHARE
from unrolled.learning.study import WITHIN
from unrolled.render.learn_summary import answer
from unrolled.render.style import DIM, finish, house_style, labelled, line_look
from unrolled.render.text import gist

if TYPE_CHECKING:
    from unrolled.learning.study import Learning

APART = 1.015  # by which the points of one network are moved beside those of the next
SPREAD = 0.06  # of a factor of two, by which the seeds of a network are drawn beside each other


def success_figure(study: Learning) -> Figure:
    """The share of seeds that learned each delay and all shorter ones, a line for each network."""
    with house_style():
        figure = Figure(figsize=(6.6, 3.2), layout="constrained")
        panel = figure.subplots()
        draw_success(study, panel)
        title = f"{_longest(study)} on {study.settings.of.TITLE}"
        beside = "Points of one delay lie beside each other, to be told apart."
        return finish(figure, title, beside, study.describe(), labelled([panel]))


def draw_success(study: Learning, panel: Axes) -> None:
    """The same in a panel."""
    frame = study.success_frame()
    names = list(dict.fromkeys(frame["network"]))
    panel.axhline(SHARE, color=DIM, linewidth=1.0, linestyle=":", label=f"{100 * SHARE:.0f} % of the seeds")
    for k, name in enumerate(names):
        part = frame[frame["network"] == name]
        moved = APART ** (k - (len(names) - 1) / 2)
        panel.plot(
            part["delay"] * moved, part["learned"] / part["seeds"], **line_look(k), markersize=5, linewidth=1.3,
            label=name, clip_on=False,
        )  # fmt: skip
    _over_delays(panel, study.settings.delays)
    panel.set_xlabel("delay, steps")
    panel.set_ylabel("seeds that learned it")
    panel.set_ylim(0, 1.0)
    panel.yaxis.set_major_formatter(PercentFormatter(1.0))


def _longest(study: Learning) -> str:
    rows = study.networks_frame()
    best = rows.loc[rows["learned"].idxmax()]
    if not best["learned"]:
        return "No network learns any of the delays in most seeds,"
    also = rows[rows["learned"] == best["learned"]]["network"].tolist()
    others = f" (as {len(also) - 1} other{'s' * (len(also) > 2)})" if len(also) > 1 else ""
    return f"{best['network']} learns the longest delay, {best['learned']} steps{others},"


def learned_figure(study: Learning) -> Figure:
    """The largest lag that each seed learned, over its horizon before training, with the line where both are one."""
    frame, settings = study.learners_frame(), study.settings
    lags = [settings.of.lag(delay) for delay in settings.delays]
    none = lags[0] / 2
    with house_style():
        figure = Figure(figsize=(6.6, 4.2), layout="constrained")
        panel = figure.subplots()
        ends = np.array(
            [0.8 * min(none, max(frame["before"].min(), 1.0)), 1.3 * max(frame["before"].max(), lags[-1])]
        )
        panel.fill_between(
            ends, ends / WITHIN, ends * WITHIN, color="#000000", alpha=0.06, linewidth=0,
            label=f"within a factor of {WITHIN:g}",
        )  # fmt: skip
        panel.plot(ends, ends, color=DIM, linewidth=1.0, linestyle="--", label="learned as far as heard")
        for k, (name, part) in enumerate(frame.groupby("network", sort=False)):
            spread = 2.0 ** (SPREAD * (np.arange(len(part)) - (len(part) - 1) / 2))
            look = line_look(k)
            panel.plot(
                part["before"].clip(lower=1), part["lag"].where(part["lag"] > 0, none) * spread,
                color=look["color"], marker=look["marker"], markerfacecolor="none", markeredgewidth=1.1,
                linestyle="", markersize=5, label=name,
            )  # fmt: skip
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlim(*ends)
        panel.set_ylim(0.7 * none, 1.6 * lags[-1])
        panel.yaxis.set_major_locator(FixedLocator([none, *lags]))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: "none" if y == none else f"{y:g}"))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        panel.set_xlabel("horizon before training, steps")
        panel.set_ylabel("largest lag learned, steps")
        note = (
            "One mark for each seed, spread along the axis of lags. A horizon of "
            f"{settings.of.steps(settings.reach_delay) - 1} steps is a lower bound."
        )
        return finish(figure, gist(answer(study)), note, study.describe(), labelled([panel]))


def _over_delays(panel: Axes, delays: tuple[int, ...]) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(list(delays)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
