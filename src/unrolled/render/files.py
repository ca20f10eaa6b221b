"""Frames to CSV files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def write_frames(frames: dict[str, pd.DataFrame], folder: Path) -> list[Path]:
    """`NAME.csv` of each that has columns: every digit of every number, NaN and infinities by name. Gives the paths."""
    paths = []
    for name, frame in frames.items():
        if len(frame.columns):
            paths.append(folder / f"{name}.csv")
            frame.to_csv(paths[-1], index=False, na_rep="nan", lineterminator="\n")
    return paths
