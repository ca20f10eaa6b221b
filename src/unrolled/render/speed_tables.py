"""The tables at the end of a benchmark run: one per cell and phase, from the tidy frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import Block, Column, tables, width_of
from unrolled.render.speed_axes import at, options_of, places, row_axes, value_of
from unrolled.render.speed_reading import quantity, read
from unrolled.speed.statistics import TELLS_WITHIN

if TYPE_CHECKING:
    import pandas as pd

STYLES = {"faster": "green", "slower": "red", "same": "cyan", "unclear": "yellow"}
NOTHING_TOLD = "?"  # in place of a number
HEADS = {
    "num_layers": "layers",
    "batch_size": "batch",
    "seq_len": "steps",
    "input_size": "inputs",
    "hidden_size": "hidden",
    "bidirectional": "both ways",
    "bias": "biases",
    "batch_first": "batch first",
    "proj_size": "projected",
    "dropout": "dropout",
    "packed": "packed",
    "threads": "threads",
}
SPEED_NOTE = (
    "Time: of a call; ★: the fastest, where that is decided. Noise: how far the reference was from itself. × "
    "fused: time over that of the fused module in the same rounds, with its 99 % interval; ? where that is wider "
    "than a factor of two. Faster and slower need the whole interval to clear 1 and the noise; same needs it "
    "within 5 % of 1; the rest is unclear. Means are geometric. Tokens: steps of all sequences; keeps: what the "
    "forward pass holds for the backward pass beyond parameters and input. Iterations: of Newton’s method, the most "
    "that a layer took; loop where it gave up and went step by step."
)
Rows = dict[str, Any]  # of one workload, by the names of their implementations


def speed_tables(frame: pd.DataFrame, width: int, as_: str = "ratio") -> list[Group]:
    """A table per cell, phase, device and dtype; contenders that do not fit beside each other go below.

    `as_` is one of `speed_reading.QUANTITIES`.
    """
    frame, shown = read(frame, as_), quantity(as_)
    made = []
    for (cell, phase, device, dtype), part in frame.groupby(["cell", "phase", "device", "dtype"], sort=False):
        axes, reference = row_axes(part), part["reference"].iloc[0]
        found = places(part, axes)
        rows: list[Rows] = [
            {row["implementation"]: row for _, row in at(part, axes, place).iterrows()} for place in found
        ]
        best = [best_of(by_name, reference) for by_name in rows]
        left = [*axis_columns(axes, found), *_reference_columns(rows, best, reference)]
        names = [name for name in part["implementation"].unique() if name != reference]
        for wide in (True, False):
            heading = shown.heading.format(reference)
            blocks = [_contender(name, rows, best, heading, wide) for name in names]
            if wide and width_of(left, *blocks) <= width:
                break
        title = f"{cell} · {phase} · {device} {dtype}{options_of(part)}"
        made += tables(title, _caption(part), left, blocks, width)
    return made


def axis_columns(axes: list[str], found: list[tuple[Any, ...]]) -> list[Column]:
    """What a row is, on each axis."""
    values = zip(*found, strict=True)
    return [Column(HEADS[axis], [Text(value_of(v)) for v in of]) for axis, of in zip(axes, values, strict=True)]


def best_of(rows: Rows, reference: str) -> str | None:
    """Who won a race, where that is decided: nobody whose verdict is open may be as fast.

    It is the fastest of those that are faster than the reference, or else the reference.
    """
    raced = {name: row for name, row in rows.items() if row["rounds"] and name != reference}
    faster = {name: row["median_s"] for name, row in raced.items() if row["verdict"] == "faster"}
    best = min(faster, key=lambda name: faster[name], default=reference)
    rivals = [row for row in raced.values() if row["verdict"] == "unclear"]
    if best == reference:
        return reference if raced and not rivals else None
    return best if all(row["told"] and _apart(raced[best], row) for row in rivals) else None


def _apart(one: Any, other: Any) -> bool:
    """Whether the intervals of two have nothing in common."""
    return bool(one["ratio_high"] < other["ratio_low"] or other["ratio_high"] < one["ratio_low"])


def _time(seconds: float, best: bool) -> Text:
    return Text(("★ " if best else "") + text.seconds(seconds), style="bold" if best else "")


def _reference_columns(rows: list[Rows], best: list[str | None], reference: str) -> Block:
    cells = [_reference_cells(*each, reference) for each in zip(rows, best, strict=True)]
    times, noises = zip(*cells, strict=True)
    return Column(reference, times), Column("noise", noises)


def _reference_cells(rows: Rows, best: str | None, reference: str) -> tuple[Text, Text]:
    if reference in rows and not rows[reference]["rounds"]:
        return Text(rows[reference]["status"].upper(), style="bold red"), Text("–")
    timed = [row for row in rows.values() if row["rounds"]]
    if not timed:
        return Text("–"), Text("–")
    row = rows.get(reference, timed[0])
    floor = row["noise_floor"]
    noise = NOTHING_TOLD if floor > TELLS_WITHIN else f"±{text.percent(floor - 1)}"
    return _time(row["reference_median_s"], best == reference), Text(noise, style="dim")


def _contender(name: str, rows: list[Rows], best: list[str | None], heading: str, wide: bool) -> Block:
    """The columns of one implementation."""
    mine = [by_name.get(name) for by_name in rows]
    heads = [name, heading + " (99 %)" * wide, ""]
    cells = [_contender_cells(row, first == name, wide) for row, first in zip(mine, best, strict=True)]
    if any(row is not None and row["compile_s"] > 0 for row in mine):
        heads += ["compile", "pays after"]
        cells = [[*these, *_compile_cells(row)] for these, row in zip(cells, mine, strict=True)]
    if any(row is not None and row["iterations"] for row in mine):
        heads.append("iterations")
        cells = [[*these, _iterations(row)] for these, row in zip(cells, mine, strict=True)]
    return [Column(head, of, left=not head) for head, of in zip(heads, zip(*cells, strict=True), strict=True)]


def _contender_cells(row: Any, best: bool, wide: bool) -> list[Text]:
    if row is None:
        return [Text("")] * 3
    if not row["rounds"]:
        return [Text("–"), Text("–"), Text(row["status"].upper(), style="bold red")]
    if not row["told"]:
        return [Text(f"~{text.seconds(row['median_s'])}", style="dim"), *ratio_cells(row, wide)]
    return [_time(row["median_s"], best), *ratio_cells(row, wide)]


def ratio_cells(row: Any, wide: bool) -> list[Text]:
    """A ratio with its interval, and the verdict; a question mark where nothing can be told."""
    verdict = Text(row["verdict"], style=STYLES[row["verdict"]])
    if not row["told"]:
        return [Text(NOTHING_TOLD), verdict]
    return [Text(ratio_text(row, wide)), verdict]


def ratio_text(row: Any, wide: bool) -> str:
    """`4.88 (4.66–5.11)`, or `4.88 ±4.8%` where there is less room."""
    ratio, low, high = row["ratio"], row["ratio_low"], row["ratio_high"]
    if wide:
        return f"{text.significant(ratio)} ({text.significant(low)}–{text.significant(high)})"
    return f"{text.significant(ratio)} ±{text.percent(max(high / ratio - 1, 1 - low / ratio))}"


def _compile_cells(row: Any) -> list[Text]:
    if row is None or not row["compile_s"] > 0:
        return [Text("–"), Text("–")]
    calls = row["pays_after_calls"]
    return [
        Text(text.seconds(row["compile_s"])),
        Text("never" if calls == float("inf") else f"{calls:.0f} calls"),
    ]


def _iterations(row: Any) -> Text:
    return Text(row["iterations"] if row is not None and row["iterations"] else "–")


def _caption(part: pd.DataFrame) -> str:
    """Beside time, at the largest workload: throughput, and in training what is kept for backward."""
    timed = part[(part["rounds"] > 0) & (part["told"] | (part["implementation"] == part["reference"]))]
    if timed.empty:
        return ""
    axes = row_axes(part)
    sized = timed[["seq_len", "batch_size", "num_layers"]].prod(axis=1)
    largest = places(timed[sized == sized.max()], axes)[-1]
    said = [_beside_time(row) for _, row in at(timed, axes, largest).iterrows()]
    sizes = [f"{HEADS[axis]} {value_of(value)}" for axis, value in zip(axes, largest, strict=True)]
    return f"at {', '.join(sizes)}: {'; '.join(said)}"


def _beside_time(row: Any) -> str:
    rate = f"{text.amount(row['tokens_per_s'])} tokens/s, {text.significant(row['gflops'])} GFLOP/s"
    keeps = f", keeps {text.amount(row['saved_bytes'], 'B', 1024)}" if row["saved_bytes"] > 0 else ""
    return f"{row['implementation']} {rate}{keeps}"
