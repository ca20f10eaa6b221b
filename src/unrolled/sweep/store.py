"""The file that keeps every measurement as it arrives: SQLite, one job's rows, by settings and seed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from filelock import FileLock, Timeout

from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.sweep.axis import Value
from unrolled.sweep.grid import Grid, Task
from unrolled.sweep.jobs.job import PROBLEM, Job, Row
from unrolled.sweep.store_file import damage_said, names_of, opened

if TYPE_CHECKING:
    import pandas as pd


class Store:
    """`with Store(path, job) as store:` opens the file, or makes it, and keeps others out meanwhile.

    Its table `results` has a column for every setting of the job and for every column of its rows, to be asked in plain
    SQL; `plan` has the tasks of the last sweep. Each row is on the disk once `add` returns, whatever ends the process.
    Raises `InvalidValueError` where another process holds the file, `ResultFileError` where it is no store of this job.
    """

    def __init__(self, path: Path, job: Job) -> None:
        self.named, self.path, self.job = path, path.absolute(), job
        self._results = [column.name for column in job.columns]
        self.names = names_of(job)
        self._lock = FileLock(self.path.with_name(f"{self.path.name}.lock"), blocking=False)
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise InvalidValueError(
                f"store: expected a file that no other sweep writes to, got {self.named}; wait for that sweep to end, "
                "or name another"
            ) from None
        except OSError as error:
            raise InvalidValueError(
                f"store: expected a file that can be written, got {self.named} ({error.strerror}); name another"
            ) from error
        try:
            self._connection = opened(self.path, self.job)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; what was added stays."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock.is_locked:
            with suppress(OSError):
                Path(self._lock.lock_file).unlink(missing_ok=True)  # it is still held, so nobody else's
            self._lock.release()

    def plan(self, grid: Grid) -> None:
        """Put the tasks of a sweep in place of those of the last one."""
        tasks = ((task.settings, task.seed, place) for place, task in enumerate(grid.tasks()))
        with self._writing() as connection:
            connection.execute("DELETE FROM plan")
            connection.executemany("INSERT INTO plan (settings, seed, place) VALUES (?, ?, ?)", tasks)

    def missing(self) -> list[Task]:
        """The tasks of the plan that have no row, in its order."""
        asked = (
            "SELECT plan.settings, plan.seed FROM plan LEFT JOIN results USING (settings, seed) "
            f'WHERE results."{PROBLEM}" IS NULL ORDER BY place'
        )
        with self._reading() as connection:
            return [Task(*row) for row in connection.execute(asked)]

    def add(self, rows: Iterable[tuple[Task, Row]]) -> None:
        """Keep rows; the first of a task stays."""
        with self._writing() as connection:
            connection.executemany(self._insert, [self._values(task, row) for task, row in rows])

    def rows(self) -> list[tuple[int, Row]]:
        """The rows of the plan that are there, each with its place in it."""
        columns = ", ".join(f'results."{name}"' for name in (*self._results, PROBLEM))
        asked = f"SELECT place, {columns} FROM plan JOIN results USING (settings, seed) ORDER BY place"
        names = (*self._results, PROBLEM)
        with self._reading() as connection:
            return [(place, dict(zip(names, row, strict=True))) for place, *row in connection.execute(asked)]

    def merge(self, paths: Iterable[Path]) -> int:
        """Add the rows of other stores of the same job, which stay as they are; gives how many are new."""
        new = 0
        for path in paths:
            if not path.is_file():
                raise ResultFileError(
                    f"store: expected a store to merge, got {path}, which is no file; name another"
                )
            if path.absolute() == self.path:
                raise InvalidValueError(
                    f"store: expected another store to merge, got {path} itself; leave it out"
                )
            other = opened(path.absolute(), self.job)
            try:
                listed = ", ".join(f'"{name}"' for name in ("settings", "seed", *self.names, PROBLEM))
                with self._writing() as connection, damage_said(path):
                    before = connection.total_changes
                    connection.executemany(self._insert, other.execute(f"SELECT {listed} FROM results"))
                    new += connection.total_changes - before
            finally:
                other.close()
        return new

    def frame(self) -> pd.DataFrame:
        """All rows, whatever sweep they are of: a column per setting, the seed, a column per result, `problem`."""
        import pandas as pd

        settings = [parameter.name for parameter in self.job.parameters]
        names = [*settings, "seed", *self._results, PROBLEM]
        listed = ", ".join(f'"{name}"' for name in names)
        with self._reading() as connection:
            found = connection.execute(f"SELECT {listed} FROM results ORDER BY {listed}").fetchall()
        frame = pd.DataFrame(found, columns=names)
        for column in self.job.columns:
            if column.kind != "word":
                frame[column.name] = frame[column.name].astype(float)
        return frame

    @property
    def _insert(self) -> str:
        names = ("settings", "seed", *self.names, PROBLEM)
        listed = ", ".join(f'"{name}"' for name in names)
        return f"INSERT OR IGNORE INTO results ({listed}) VALUES ({', '.join('?' * len(names))})"

    def _values(self, task: Task, row: Row) -> list[Value]:
        settings = json.loads(task.settings)
        chosen = [settings[parameter.name] for parameter in self.job.parameters]
        return [task.settings, task.seed, *chosen, *(row[name] for name in self._results), row[PROBLEM]]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            raise InvalidValueError(
                f"store: expected {self.named} to be open, got one that is closed; use with"
            )
        with damage_said(self.named):
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """All that is done inside, or nothing of it."""
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
