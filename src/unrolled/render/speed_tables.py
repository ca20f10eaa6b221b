"""The tables at the end of a benchmark run: one per cell and phase, from the tidy frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from unrolled.render import text

if TYPE_CHECKING:
    import pandas as pd

# What a row of the table is, and the short name that each axis has there.
ROW_AXES = {
    "num_layers": "L",
    "batch_size": "B",
    "seq_len": "T",
    "input_size": "I",
    "hidden_size": "H",
    "bidirectional": "bi",
}
STYLES = {"faster": "green", "slower": "red", "same": "cyan", "unclear": "yellow"}


def speed_tables(frame: pd.DataFrame, width: int) -> list[Table]:
    """A table per cell, phase, device and dtype; contenders that do not fit beside each other go below."""
    tables = []
    for (cell, phase, device, dtype), part in frame.groupby(["cell", "phase", "device", "dtype"], sort=False):
        reference = part["reference"].iloc[0]
        names = [name for name in part["implementation"].unique() if name != reference]
        compiled = 22 if part["compile_s"].notna().any() else 0
        left = 3 * len(row_axes(part)) + 16  # columns taken by the axes, the reference and its noise
        wide = left + len(names) * (36 + compiled) <= width
        fitting = max(1, (width - left) // (compiled + (36 if wide else 26)))
        for first in range(0, max(len(names), 1), fitting):
            title = f"{cell} · {phase} · {device} {dtype}"
            tables.append(_table(part, names[first : first + fitting], title, wide))
    return tables


def compact_table(title: str, caption: str = "") -> Table:
    """One space between columns and a rule under the head: figures fit in 80 columns."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )


def row_axes(frame: pd.DataFrame) -> list[str]:
    """Layers and batch always, and every other axis that varies."""
    always = ("num_layers", "batch_size")
    return [axis for axis in ROW_AXES if axis in always or frame[axis].nunique() > 1]


def _table(part: pd.DataFrame, names: list[str], title: str, wide: bool) -> Table:
    axes, reference = row_axes(part), part["reference"].iloc[0]
    compiled = [name for name in names if part.loc[part["implementation"] == name, "compile_s"].notna().any()]
    table = compact_table(title, _caption(part))
    for axis in axes:
        table.add_column(ROW_AXES[axis], justify="right")
    table.add_column(reference, justify="right")
    table.add_column("noise", justify="right")
    for name in names:
        table.add_column(name, justify="right")
        table.add_column(f"× {reference}" + (" (99 %)" if wide else ""), justify="right")
        table.add_column("")
        if name in compiled:
            table.add_column("compile", justify="right")
            table.add_column("pays after", justify="right")
    for key, rows in part.groupby(axes, sort=True):
        by_name = {row["implementation"]: row for _, row in rows.iterrows()}
        best = _best(by_name, reference)
        cells = [Text(_axis_value(value)) for value in (key if isinstance(key, tuple) else (key,))]
        cells += _reference_cells(by_name, best, reference)
        for name in names:
            row = by_name.get(name)
            cells += _contender_cells(row, best == name, wide)
            if name in compiled:
                cells += _compile_cells(row)
        table.add_row(*cells)
    return table


def _axis_value(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _best(by_name: dict[str, Any], reference: str) -> str:
    """The contender that is clearly faster than the reference by the most, or the reference."""
    faster = {name: row["ratio"] for name, row in by_name.items() if row["verdict"] == "faster"}
    return min(faster, key=lambda name: faster[name], default=reference)


def _time(seconds: float, best: bool) -> Text:
    return Text(("★ " if best else "") + text.seconds(seconds), style="bold" if best else "")


def _reference_cells(by_name: dict[str, Any], best: str, reference: str) -> list[Text]:
    if reference in by_name and by_name[reference]["rounds"] == 0:
        return [Text(by_name[reference]["status"].upper(), style="bold red"), Text("–")]
    timed = [row for row in by_name.values() if row["rounds"]]
    if not timed:
        return [Text("–"), Text("–")]
    row = by_name.get(reference, timed[0])
    floor = f"±{text.percent(row['noise_floor'] - 1)}"
    return [_time(row["reference_median_s"], best == reference), Text(floor, style="dim")]


def _contender_cells(row: Any, best: bool, wide: bool) -> list[Text]:
    if row is None:
        return [Text("")] * 3
    if not row["rounds"]:
        return [Text("–"), Text("–"), Text(row["status"].upper(), style="bold red")]
    ratio, low, high = row["ratio"], row["ratio_low"], row["ratio_high"]
    if wide:
        interval = f"{text.significant(ratio)} ({text.significant(low)}–{text.significant(high)})"
    else:
        interval = f"{text.significant(ratio)} ±{text.percent(max(high / ratio - 1, 1 - low / ratio))}"
    verdict = row["verdict"]
    return [_time(row["median_s"], best), Text(interval), Text(verdict, style=STYLES[verdict])]


def _compile_cells(row: Any) -> list[Text]:
    if row is None or not row["compile_s"] > 0:
        return [Text("–"), Text("–")]
    calls = row["pays_after_calls"]
    return [
        Text(text.seconds(row["compile_s"])),
        Text("never" if calls == float("inf") else f"{calls:.0f} calls"),
    ]


def _caption(part: pd.DataFrame) -> str:
    """Beside time, at the largest workload: throughput, and in training what is kept for backward."""
    timed = part[part["rounds"] > 0]
    if timed.empty:
        return ""
    size = timed["seq_len"] * timed["batch_size"] * timed["num_layers"]
    largest = timed[size == size.max()]
    row = largest.iloc[0]
    said = [_beside_time(r) for _, r in largest.drop_duplicates("implementation").iterrows()]
    return f"at L{row['num_layers']} B{row['batch_size']}: " + "; ".join(said)


def _beside_time(row: Any) -> str:
    rate = f"{text.amount(row['tokens_per_s'])} tokens/s, {text.significant(row['gflops'])} GFLOP/s"
    keeps = f", keeps {text.amount(row['saved_bytes'], 'B', 1024)}" if row["saved_bytes"] > 0 else ""
    return f"{row['implementation']} {rate}{keeps}"
