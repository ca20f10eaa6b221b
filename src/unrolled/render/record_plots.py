"""The one picture of each record, drawn into an axes: what `.plot()` gives."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from unrolled.render.speed_axes import WORDS
from unrolled.render.speed_style import log_axis, ticks
from unrolled.render.style import COLOURS, line_look
from unrolled.render.text import listed

if TYPE_CHECKING:
    import pandas as pd

LETTERS = 78  # of a line of a title
HORIZON = -3.0  # decades: 1/1000 of the norm at the last step
LOWEST = -4.0  # nats per step: what is lost faster is lost
DEEPEST = -12.0  # decades of singular values
KINDS = ("cell", "phase", "device", "dtype")  # of workloads, beside their sizes
MOST = 10  # lines that a legend names
MOST_TICKS = 24  # workloads that are named one by one
THRESHOLD: dict[str, Any] = {"color": "#555555", "linewidth": 0.9, "linestyle": "--"}
LAG = "steps back from the last, k"


def new_axes() -> Axes:
    """One axes in a figure of its own, which a notebook shows."""
    from matplotlib import pyplot

    axes: Axes = pyplot.subplots(figsize=(7.0, 4.2), layout="constrained")[1]
    return axes


def _frame(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(textwrap.fill(title, LETTERS), loc="left", fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _line(axes: Axes, k: int, x: Any, y: Any, label: str) -> None:
    """A line that its colour, its marker and their lightness tell from the others."""
    last = len(x) - 1
    axes.plot(
        x,
        np.where(np.isfinite(y), y, np.nan),
        **line_look(k),
        markevery=sorted({round(last * share / 7) for share in range(8)}),
        markersize=4.5,
        linewidth=1.3,
        label=label,
    )


def _legend(axes: Axes) -> None:
    """Of several lines; of many the first."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        title = None if len(handles) <= MOST else f"{MOST} of {len(handles)}"
        axes.legend(handles[:MOST], labels[:MOST], fontsize=8, title=title, title_fontsize=8)


def _reach(axes: Axes, lines: dict[str, np.ndarray], title: str) -> None:
    """log10 norms by lag, relative to that at the last step."""
    for k, (name, norm) in enumerate(lines.items()):
        with np.errstate(invalid="ignore"):
            _line(axes, k, np.arange(len(norm)), norm - norm[0], name)
    axes.axhline(HORIZON, **THRESHOLD, label="1/1000: heard above")
    _legend(axes)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _frame(axes, title, LAG, "norm of the gradient, relative to\nthe last step (decades, log10)")


def flow(record: Any, axes: Axes) -> None:
    """A line for each profile."""
    from unrolled.gradients.reach import in_order
    from unrolled.render.gradient_flow import answer

    _reach(axes, {profile.label: profile.log10_norm for profile in in_order(record)}, answer(record))


def profile(record: Any, axes: Axes) -> None:
    """Its line."""
    from unrolled.render.verdict import answer

    _reach(axes, {record.label: record.log10_norm}, answer(record.verdict))


def gradflow(record: Any, axes: Axes) -> None:
    """A line for each network."""
    from unrolled.render.gradflow import answer

    rows = record.reach_frame()
    rows = rows[rows["problem"] == ""]
    lines = {}
    for row in rows.to_dict("records"):
        name = row["profile"] or row["network"]
        lines[name if row["clip"] == "none" else f"{name}, {row['clip']}"] = np.array(row["line"])
    _reach(axes, lines, answer(record))


def watched(record: Any, axes: Axes) -> None:
    """How far back the gradient is heard over the passes of the training."""
    from unrolled.render.watch import answer, history

    frame = history(record)
    known = frame[frame["horizon"].notna()] if len(frame) else frame
    if len(known):
        for profile, rows in known.groupby("profile", sort=False):
            axes.plot(rows["backward"], rows["horizon"], marker="o", markersize=4, linewidth=1.3, label=profile)
        all_of_it = known[known["horizon_is_censored"].astype(bool)]
        if len(all_of_it):
            axes.plot(
                all_of_it["backward"], all_of_it["horizon"], "^", color="#333333", markersize=8,
                markerfacecolor="none", label="the whole sequence",
            )  # fmt: skip
        _legend(axes)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    _frame(axes, answer(record), "backward pass", "heard (steps back)")


def exponents(record: Any, axes: Axes) -> None:
    """The mean of each exponent over samples, from the largest down: a line for each system."""
    from unrolled.render.lyapunov_spectrum import answer

    parts = record.parts if hasattr(record, "parts") else (record,)
    _exponents(axes, {part.system.label: (part.mean, part.system.size) for part in parts}, answer(record))


def spectrum(record: Any, axes: Axes) -> None:
    """A line for each network, under the first of its inputs; the curve over gain where there is nothing else."""
    from unrolled.render.spectrum import answer

    frame = record.mean_spectrum_frame()
    if frame.empty:
        _gains(axes, record.gain_mean_frame(), answer(record))
        return
    drive = frame["drive"].iloc[0]
    lines = {
        str(profile or network): (rows["exponent"].to_numpy(), int(rows["size"].iloc[0]))
        for (network, profile), rows in frame[frame["drive"] == drive].groupby(
            ["network", "profile"], sort=False
        )
    }
    under = {"noise": ", with noise", "zero": ", without input"}.get(str(drive), "")
    _exponents(axes, lines, answer(record), f"direction of the state, i of n, as a share{under}")


def _exponents(
    axes: Axes,
    lines: dict[str, tuple[np.ndarray, int]],
    title: str,
    x: str = "direction of the state, i of n, as a share",
) -> None:
    for k, (name, (values, size)) in enumerate(lines.items()):
        _line(axes, k, (np.arange(1, len(values) + 1) - 0.5) / size, values, name)
    axes.axhline(0, color="#333333", linewidth=0.9)
    finite = np.concatenate([values[np.isfinite(values)] for values, _ in lines.values()])
    low, high = (max(LOWEST, finite.min()), max(finite.max(), 0.0)) if len(finite) else (-1.0, 0.0)
    margin = 0.06 * max(high - low, 0.1)
    axes.set_ylim(low - margin, high + margin)
    _legend(axes)
    cut = "; lower ones are cut off" if len(finite) and finite.min() < low else ""
    _frame(axes, title, x, f"Lyapunov exponent λᵢ\n(nats per step{cut})")


def _gains(axes: Axes, gains: pd.DataFrame, title: str) -> None:
    for k, (drive, rows) in enumerate(gains.groupby("drive", sort=False)):
        _line(axes, k, rows["gain"].to_numpy(), rows["mean"].to_numpy(), f"input: {drive}")
    axes.axhline(0, color="#333333", linewidth=0.9)
    _legend(axes)
    _frame(axes, title, "gain of the recurrent weights", "largest Lyapunov exponent λ₁ (nats per step)")


def singular_values(record: Any, axes: Axes) -> None:
    """Every singular value over lag, of the module as a whole: mean of the logarithm over samples."""
    from unrolled.render.jacobian_singular_values import answer

    part = record.part() if hasattr(record, "parts") else record
    values = np.vstack([np.zeros(part.log10.shape[2]), part.log10.mean(1)])
    values = np.where(np.isfinite(values), values, np.nan)
    lags = np.concatenate([[0], part.lags])
    axes.plot(lags, values, color="#9a9a9a", linewidth=0.5)
    axes.plot([], [], color="#9a9a9a", linewidth=0.8, label="all others")
    median = values[:, (values.shape[1] - 1) // 2]
    axes.plot(lags, median, color=COLOURS[5], linewidth=1.6, linestyle="--", label="median")
    axes.plot(lags, values[:, 0], color=COLOURS[0], linewidth=1.6, label="largest")
    axes.axhline(HORIZON, **THRESHOLD, label="1/1000: carries above")
    finite = values[np.isfinite(values)]
    low, high = max(DEEPEST, min(float(finite.min()), HORIZON - 1)), float(finite.max())
    axes.set_ylim(low, high + 0.05 * max(high - low, 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(axes)
    _frame(
        axes,
        answer(record),
        "steps that the Jacobian is over, k",
        f"singular values, {part.system.label}\n(decades, log10)",
    )


def forecast(record: Any, axes: Axes) -> None:
    """The loss of each variant over iterations: the median over seeds of a running median."""
    from unrolled.render.forecast import answer

    history = record.history_frame()
    axes.set_yscale("log")
    window = max(1, math.ceil(history["iteration"].max() / 100))
    for k, ((network, clip), part) in enumerate(history.groupby(["network", "clip"], sort=False)):
        median = part.groupby("iteration")["loss"].median()
        median = median[np.isfinite(median) & (median > 0)].rolling(window, min_periods=1, center=True).median()
        label = f"{network}, {'no clip' if clip == 'none' else clip}"
        _line(axes, k, median.index.to_numpy(), median.to_numpy(), label)
        axes.get_lines()[-1].set_linestyle(
            ("-", "--", "-.", ":")[k % 4]
        )  # of two trainings that are one both show
    _legend(axes)
    _frame(
        axes,
        answer(record),
        "iteration",
        "loss (mean squared error)" if record.runs[0].window is not None else "loss",
    )


def shapes(record: Any, axes: Axes) -> None:
    """How many numbers the parameters of each configuration hold."""
    descriptions = record.descriptions[::-1]
    counts = [description.count for description in descriptions]
    bars = axes.barh(range(len(counts)), counts, color=COLOURS[0])
    axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3, fontsize=8)
    axes.set_yticks(range(len(counts)), [description.configuration.name for description in descriptions])
    axes.margins(x=0.14)
    axes.grid(False, axis="y")
    most = max(record.descriptions, key=lambda description: description.count)
    title = f"{most.configuration.name} has the most parameters, {most.count:,}."
    _frame(axes, title, "numbers in all parameters", "")


def ratios(record: Any, axes: Axes) -> None:
    """Time over that of the reference with its interval, for each contender over the workloads."""
    from unrolled.render.bench import answer
    from unrolled.render.speed_axes import labels, row_axes
    from unrolled.render.speed_reading import read

    frame = read(record.frame())
    rows = frame[(frame["rounds"] > 0) & (frame["implementation"] != frame["reference"]) & frame["told"]]
    sizes, kinds = row_axes(frame), [name for name in KINDS if frame[name].nunique() > 1]
    of = [" ".join(map(str, row[kinds])) for _, row in rows.iterrows()]
    if kinds:  # what belongs together stands together
        rows = rows.iloc[sorted(range(len(of)), key=lambda k: list(dict.fromkeys(of)).index(of[k]))]
    where = [
        (" ".join(map(str, row[kinds])), " ".join(labels(sizes, tuple(row[sizes]))))
        for _, row in rows.iterrows()
    ]
    places = {name: place for place, name in enumerate(dict.fromkeys(where))}
    rows = rows.assign(place=[places[name] for name in where])
    count = rows["implementation"].nunique()
    for k, (name, part) in enumerate(rows.groupby("implementation", sort=False)):
        axes.errorbar(
            part["place"] + (k - (count - 1) / 2) * 0.6 / count, part["ratio"],
            yerr=[part["ratio"] - part["ratio_low"], part["ratio_high"] - part["ratio"]], markersize=4, elinewidth=1,
            linestyle="none", **line_look(k), label=str(name),
        )  # fmt: skip
    axes.axhline(1, color="black", linewidth=1, label=" and ".join(frame["reference"].unique()))
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    log_axis(axes.yaxis, ticks(low, high))
    axes.grid(False, axis="x")
    _legend(axes)
    _frame(
        axes, answer(record), _name_workloads(axes, list(places), sizes), "time / time of the reference (99 %)"
    )


def _name_workloads(axes: Axes, places: list[tuple[str, str]], sizes: list[str]) -> str:
    """Ticks for each workload, or where they are many for each kind of them; gives what the axis is."""
    if len(places) <= MOST_TICKS:
        axes.set_xticks(
            range(len(places)), [" ".join(filter(None, name)) for name in places], rotation=90, fontsize=7
        )
        return "workload"
    kinds = [kind for kind, _ in places]
    first = {kind: kinds.index(kind) for kind in dict.fromkeys(kinds)}
    middle = [k + (kinds.count(kind) - 1) / 2 for kind, k in first.items()]
    axes.set_xticks(middle, [kind.replace(" ", "\n") for kind in first], fontsize=8)
    axes.tick_params(axis="x", length=0)
    for k in list(first.values())[1:]:
        axes.axvline(k - 0.5, color="#bbbbbb", linewidth=0.8)
    words = listed([WORDS[axis] for axis in sizes])
    return f"{len(places)} workloads, within each group by {words}"


def rounds(record: Any, axes: Axes) -> None:
    """The seconds of every round, of both sides."""
    from unrolled.render.race import answer
    from unrolled.speed.grid import shown_name

    if record.timed:
        count = len(record.seconds)
        reference = np.reshape(record.reference_seconds, (count, -1)).mean(axis=1)
        scale, unit = next(
            (s, u)
            for s, u in ((1, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns"))
            if s * reference.max() >= 1 or u == "ns"
        )
        names = (shown_name(record.workload, each) for each in (record.implementation, "fused"))
        for name, seconds, colour, marker in zip(
            names, (record.seconds, reference), COLOURS, "os", strict=False
        ):
            label = f"{name} again" if record.is_reference and marker == "o" else name
            axes.plot(
                range(1, count + 1), scale * np.array(seconds), marker, color=colour, markersize=4, label=label
            )
        for end in np.cumsum(record.passes)[:-1]:
            axes.axvline(end + 0.5, color="#bbbbbb", linewidth=0.8)
        axes.set_ylim(bottom=0)
        _legend(axes)
        unit_of = f"time of a call ({unit})"
    else:
        unit_of = "time of a call"
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    _frame(axes, answer(record), "round; a rule between two passes", unit_of)


def changes(record: Any, axes: Axes) -> None:
    """The largest changes with their intervals, and what may pass."""
    from unrolled.render.comparison import answer, largest

    shown = largest(record.changes)[:20][::-1]
    styles = {"slower": COLOURS[5], "faster": COLOURS[2]}
    for y, change in enumerate(shown):
        found = change.change.interval
        ends = [[100 * (found.ratio - found.low)], [100 * (found.high - found.ratio)]]
        axes.errorbar(
            [100 * (found.ratio - 1)], [y], xerr=ends, fmt="o", markersize=4, elinewidth=1.2, capsize=2,
            color=styles.get(change.outcome, "#666666"),
        )  # fmt: skip
    names = [f"{'time of ' * c.of_reference}{c.name}, {c.after.workload.label} {c.after.phase}" for c in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.axvline(0, color="black", linewidth=1)
    for bound in record.bounds:
        axes.axvline(100 * bound.sign * bound.share, **THRESHOLD)
    axes.grid(False, axis="y")
    _frame(
        axes,
        answer(record),
        "change of the ratio, or of the time (%, 99 %)",
        "",
    )


def why(record: Any, axes: Axes) -> None:
    """The waterfall, where every rung was timed."""
    from unrolled.render.why_plot import draw_waterfall, title

    if record.is_whole:
        draw_waterfall(record, axes)
        axes.legend(fontsize=8)
    axes.set_title(textwrap.fill(title(record), LETTERS), loc="left", fontsize=10)


def learned(record: Any, axes: Axes) -> None:
    """Seeds that learned each delay, a line for each network."""
    from unrolled.render.learn_plots import draw_success
    from unrolled.render.learn_summary import answer

    draw_success(record, axes)
    axes.legend(fontsize=8)
    axes.set_title(textwrap.fill(answer(record), LETTERS), loc="left", fontsize=10)


def advised(record: Any, axes: Axes) -> None:
    """What every training came to, unchanged and with each change."""
    from unrolled.render.advise import answer, draw_losses

    if record.tried:
        draw_losses(record, axes)
        axes.legend(fontsize=8)
    axes.set_title(textwrap.fill(answer(record), LETTERS), loc="left", fontsize=10)


def swept(record: Any, axes: Axes) -> None:
    """A line over one axis, or the map over two: the first panel."""
    from unrolled.render.sweep import answer
    from unrolled.render.sweep_plot import draw_one

    draw_one(record, axes)
    axes.set_title(textwrap.fill(answer(record), LETTERS), loc="left", fontsize=10)


def paralleled(record: Any, axes: Axes) -> None:
    """Newton's iterations over the length, a line for each network."""
    from unrolled.render.parallel_plots import draw_lengths
    from unrolled.render.parallel_summary import answer

    draw_lengths(record, axes)
    axes.legend(fontsize=8)
    axes.set_title(textwrap.fill(answer(record), LETTERS), loc="left", fontsize=10)


# By the view that a record names.
PICTURES: dict[str, Callable[[Any, Axes], None]] = {
    "gradient_flow": flow,
    "profile": profile,
    "why": why,
    "gradflow": gradflow,
    "watch": watched,
    "lyapunov_spectrum": exponents,
    "jacobian_singular_values": singular_values,
    "spectrum": spectrum,
    "learn": learned,
    "sweep": swept,
    "parallel": paralleled,
    "advise": advised,
    "forecast": forecast,
    "shapes": shapes,
    "bench": ratios,
    "race": rounds,
    "comparison": changes,
}
