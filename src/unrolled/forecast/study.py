"""Several training runs as one record: what `diagnostics.forecast` measures and keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import pandas as pd

from unrolled.environment import Environment
from unrolled.errors import InvalidValueError
from unrolled.forecast.checkpoint import Checkpoint
from unrolled.forecast.outcome import OUTCOMES
from unrolled.forecast.record import Run
from unrolled.forecast.setting import Setting
from unrolled.forecast.signals import CHAOTIC
from unrolled.forecast.training import Training
from unrolled.forecast.truth import Truth
from unrolled.progress import ProgressLine
from unrolled.results.codec import require
from unrolled.results.record import Record

EXPONENTS = 3  # by default: as many as the Lorenz equations have
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

    def exponents_frame(self) -> pd.DataFrame:
        """A row per run, closed loop and exponent; empty where none were measured."""
        return pd.concat([run.exponents_frame() for run in self.runs], ignore_index=True)

    @property
    def exponents(self) -> int:
        """How many exponents of a closed loop there are at most; 0 where none were measured."""
        return max(0 if run.autonomous is None else run.autonomous.values.shape[1] for run in self.runs)

    @property
    def truth(self) -> Truth | None:
        """What is known of the system that all runs were shown; None where nothing is."""
        signals = {run.setting.signal for run in self.runs}
        if len(signals) > 1 or not (observed := CHAOTIC.get(signals.pop())):
            return None
        system = observed.system
        return Truth(system.name, system.exponents, system.source, system.unit)

    def reach_frame(self) -> pd.DataFrame:
        """A row per run, mark, layer, path and step."""
        return pd.concat([run.reach_frame() for run in self.runs], ignore_index=True)


def measure(
    settings: Sequence[Setting],
    *,
    exponents: int | None = None,
    checkpoint: Checkpoint | None = None,
    progress: ProgressLine | None = None,
    keep: Callable[[Study], object] | None = None,
) -> Study:
    """Train every setting in turn, or go on with it where `checkpoint` has it.

    `exponents` of the closed loop are measured after each, by default as many as `exponents_of` says.
    `keep` is handed what there is after each run.
    """
    environment = Environment.without_load()
    counts = [exponents_of(setting, exponents) for setting in settings]
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
        runs.append(Run.of(training, seconds, counts[k]))
        if keep:
            keep(Study(tuple(runs), environment))
    return Study(tuple(runs), environment)


def exponents_of(setting: Setting, asked: int | None) -> int:
    """How many exponents to measure: as asked, by default `EXPONENTS` where the truth's are known, and else none.

    Raises `InvalidValueError` for more than the state has numbers, and for a task of memory, which has no closed loop.
    """
    if asked is None:
        return min(EXPONENTS, setting.state_size) if setting.signal in CHAOTIC else 0
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 0:
        raise InvalidValueError(f"exponents: expected a number of at least 0, got {asked!r}; 0 measures none")
    if asked and setting.symbols is not None:
        raise InvalidValueError(
            f"exponents: expected none of {setting.signal}, which has no closed loop, got {asked}; leave it out"
        )
    if asked > setting.state_size:
        raise InvalidValueError(
            f"exponents: expected at most {setting.state_size}, the numbers in the state of the {setting.cell}, got "
            f"{asked}; ask for fewer"
        )
    return asked


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
