"""Several training runs as one record: what `diagnostics.forecast` measures and keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import pandas as pd

from unrolled.environment import Environment
from unrolled.forecast.checkpoint import Checkpoint
from unrolled.forecast.outcome import OUTCOMES
from unrolled.forecast.record import Run
from unrolled.forecast.setting import Setting
from unrolled.forecast.training import Training
from unrolled.progress import ProgressLine
from unrolled.results.codec import require
from unrolled.results.record import Record

DRAW_EVERY = 0.1  # seconds between two looks of the progress line


@dataclass(frozen=True, eq=False, repr=False)
class Study(Record):
    """The runs in order: for each seed all variants; or the first of them. The same study gives the same file."""

    FORMAT, VIEW = "unrolled.forecast", "forecast"
    VERSION = 2  # 1: the figures of the tables without what they were drawn from

    runs: tuple[Run, ...]
    environment: Environment

    def check(self) -> None:
        """Raise `ValueError` unless there are runs, each of its own setting."""
        require(0 < len(self.runs) == len({run.setting for run in self.runs}), "runs of different settings")

    def runs_frame(self) -> pd.DataFrame:
        """A row per run: `Run.row`."""
        return pd.DataFrame([run.row() for run in self.runs])

    def table_frame(self) -> pd.DataFrame:
        """A row per variant: the median of each figure over the seeds, and how many ended how.

        `unchanged` says whether every run ended with the very weights of one without a clip.
        """
        frame = self.runs_frame()
        frame["seconds"] = [run.seconds for run in self.runs]
        numbers = frame.select_dtypes("number").columns.drop("seed")
        unclipped = set(frame.loc[frame["clip"] == "none", "weights"])
        rows = []
        for (network, clip), part in frame.groupby(["network", "clip"], sort=False):
            row: dict[str, Any] = {"network": network, "clip": clip, "seeds": len(part)}
            row |= {name: part[name].dropna().median() for name in numbers}  # pandas 2 warns of none at all
            row |= {name: int((part["outcome"] == name).sum()) for name in OUTCOMES}
            row["unchanged"] = bool(part["weights"].isin(unclipped).all())
            rows.append(row)
        return pd.DataFrame(rows)

    def history_frame(self) -> pd.DataFrame:
        """A row per run and iteration."""
        return pd.concat([run.history_frame() for run in self.runs], ignore_index=True)

    def loop_frame(self) -> pd.DataFrame:
        """A row per run and point of the closed loop; empty for recall."""
        return pd.concat([run.loop_frame() for run in self.runs], ignore_index=True)

    def reach_frame(self) -> pd.DataFrame:
        """A row per run, mark, layer, path and step."""
        return pd.concat([run.reach_frame() for run in self.runs], ignore_index=True)


def measure(
    settings: Sequence[Setting],
    *,
    checkpoint: Checkpoint | None = None,
    progress: ProgressLine | None = None,
    keep: Callable[[Study], object] | None = None,
) -> Study:
    """Train every setting in turn, or go on with it where `checkpoint` has it.

    `keep` is handed what there is after each run.
    """
    environment = Environment.without_load()
    if progress:
        progress.start(sum(setting.iterations for setting in settings))
    runs = []
    for k, setting in enumerate(settings):
        training = Training(setting)
        if checkpoint:
            checkpoint.restore(k, training)
        start = perf_counter()
        training.run(tell=listener(k, training, checkpoint, progress))
        seconds = perf_counter() - start
        if checkpoint:
            checkpoint.save(k, training)
        runs.append(Run.of(training, seconds))
        if keep:
            keep(Study(tuple(runs), environment))
    return Study(tuple(runs), environment)


def listener(
    k: int, training: Training, checkpoint: Checkpoint | None, progress: ProgressLine | None
) -> Callable[[Training], None] | None:
    """What happens besides training, now and then: the progress line, and the checkpoint."""
    if not checkpoint and not progress:
        return None
    name = f"{training.setting.cell}, {training.setting.clip}, seed {training.setting.seed}"
    drawn = perf_counter()
    shown = 0

    def listen(training: Training) -> None:
        """Hear of one iteration."""
        nonlocal drawn, shown
        now = perf_counter()
        if progress and (now - drawn >= DRAW_EVERY or training.finished):
            drawn = now
            progress.advance(
                training.setting.iterations - shown if training.finished else training.iteration - shown
            )
            shown = training.iteration
            progress.show(f"{name}, loss {training.history[max(training.iteration - 1, 0), 0]:.1e}")
        if checkpoint and checkpoint.is_due(now):
            checkpoint.save(k, training)

    return listen
