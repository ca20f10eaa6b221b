"""The plots of a benchmark run, from its tidy frame: ratios over workloads, times over each axis that is swept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.render.ratio_plot import ratio_figure
from unrolled.render.speed_reading import quantity, read
from unrolled.render.style import save
from unrolled.render.time_plot import SWEPT, swept, time_figure

if TYPE_CHECKING:
    import pandas as pd


def draw_speed(frame: pd.DataFrame, folder: Path, foot: str, as_: str = "ratio") -> list[Path]:
    """All plots of a run into `folder`, as PNG and SVG; `foot` names the machine. Gives the paths.

    `ratio-cpu` (or `speedup-cpu`) where contenders were timed, and `time-training-cpu-over-batch` for each phase and
    each axis with several values; with `-float32` after the device where there are several dtypes.
    """
    shown = quantity(as_)
    frame = read(frame, as_)
    timed = frame[frame["rounds"] > 0]
    paths = []
    groups = timed.groupby(["device", "dtype"], sort=False)
    for (device, dtype), part in groups:
        suffix = (device if len(groups) == 1 else f"{device}-{dtype}").replace(":", "")
        if (part["implementation"] != part["reference"]).any():
            figure = ratio_figure(part, f"{device} {dtype} · {foot}", shown)
            paths += save(figure, folder, f"{shown.name}-{suffix}")
        for phase, rows in part.groupby("phase", sort=False):
            for axis in SWEPT:
                if len(of := swept(rows, axis)):
                    figure = time_figure(of, axis, f"{phase} · {device} {dtype} · {foot}")
                    paths += save(figure, folder, f"time-{phase}-{suffix}-over-{SWEPT[axis].name}")
    return paths
