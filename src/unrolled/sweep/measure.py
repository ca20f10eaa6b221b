"""A whole sweep: what the store has not got is computed, and the record is what it then has."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Self

from unrolled.progress import ProgressLine
from unrolled.sweep.axis import Axis
from unrolled.sweep.engine import computed
from unrolled.sweep.grid import Grid, grid_of
from unrolled.sweep.jobs import job_named
from unrolled.sweep.jobs.job import Job, Settings
from unrolled.sweep.record import Sweep, empty, results_of
from unrolled.sweep.store import Store

KEEP_EVERY = 5.0  # seconds between records of what there is so far, which the store has anyway
WORTH = 50  # times as long as making one takes, at least


class Workshop:
    """`with Workshop(path, job) as shop:` a store that is open, and a folder for what workers leave behind.

    Both are in order again once `__exit__` was called, in whatever state the sweep is then. Without a path the store
    goes with the folder.
    """

    def __init__(self, path: Path | None, job: Job) -> None:
        self._path, self._job = path, job
        self._scratch: Path | None = None
        self.store: Store | None = None

    def __enter__(self) -> Self:
        self._scratch = Path(tempfile.mkdtemp(prefix="unrolled-"))
        try:
            self.store = Store(self._path or self._scratch / "sweep.sqlite", self._job).__enter__()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.store is not None:
            self.store.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def scratch(self) -> Path:
        """The folder."""
        assert self._scratch is not None
        return self._scratch


def measure_sweep(
    job: str,
    axes: Sequence[Axis | str],
    settings: Settings | None = None,
    *,
    seeds: int = 10,
    seed: int = 0,
    store: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    merge: Sequence[str | Path] = (),
) -> Sweep:
    """Measure a job at every point of a grid, with so many seeds.

    `axes` are of the form `gain=0.5:2:16`, or `Axis`; `settings` are the same at all points. Rows that the file `store`
    has already, or one of those to `merge`, are not computed again. Raises `InvalidValueError` and the like for what
    cannot be measured, before anything is; NaN and inf that networks make are rows with a `problem`.
    """
    made = job_named(job)
    chosen = tuple(made.axis(axis) if isinstance(axis, str) else axis for axis in axes)
    grid = grid_of(made, chosen, settings or {}, seeds, seed)
    with Workshop(None if store is None else Path(store), made) as shop:
        return run(job, grid, shop, workers=workers, scheduler=scheduler, merge=[Path(each) for each in merge])


def run(
    name: str,
    grid: Grid,
    shop: Workshop,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    merge: Sequence[Path] = (),
    keep: Callable[[Sweep], None] | None = None,
    progress: ProgressLine | None = None,
) -> Sweep:
    """What the plan lacks, into the store, row by row. `keep` is given a record of it every now and then."""
    job, store = job_named(name), shop.store
    assert store is not None
    about = empty(job, name, grid)
    store.merge(merge)
    store.plan(grid)
    missing = store.missing()
    if progress:
        progress.start(len(missing))
        progress.show(f"{job.name}, starting workers" if missing else job.name)
    due = 0.0
    with closing(computed(job, name, missing, shop.scratch, workers, scheduler)) as arriving:
        for done in arriving:
            store.add(done)
            if progress:
                progress.advance(len(done))
                progress.show(job.name)
            if keep is not None and monotonic() >= due:
                began = monotonic()
                keep(replace(about, **results_of(job, store.rows())))
                due = monotonic() + max(KEEP_EVERY, WORTH * (monotonic() - began))
    return replace(about, **results_of(job, store.rows()))
