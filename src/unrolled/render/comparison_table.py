"""The table of two benchmark runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from unrolled.render import text
from unrolled.render.speed_tables import ROW_AXES, compact_table, row_axes

if TYPE_CHECKING:
    import pandas as pd


def comparison_table(frame: pd.DataFrame, most: int) -> Table:
    """The `most` largest changes, from the frame of a `Comparison`."""
    axes = row_axes(frame)
    table = compact_table(f"the {min(most, len(frame))} largest changes of time / time of fused")
    table.add_column("cell")
    for axis in axes:
        table.add_column(ROW_AXES[axis], justify="right")
    for name in ("phase", "implementation"):
        table.add_column(name)
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    order = frame["change"].abs().sort_values(ascending=False).index
    for _, row in frame.loc[order].head(most).iterrows():
        before, after = row["verdict_before"], row["verdict_after"]
        table.add_row(
            row["cell"],
            *(str(row[axis]) for axis in axes),
            row["phase"],
            row["implementation"],
            text.significant(row["ratio_before"]),
            text.significant(row["ratio_after"]),
            f"{row['change']:+.1%}",
            after if before == after else f"{before} → {after}",
        )
    return table
