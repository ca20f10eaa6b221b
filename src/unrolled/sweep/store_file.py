"""The file of a store: made, opened, and looked through before anything in it is trusted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.sweep.jobs.job import PROBLEM, Job

OURS = 0x756E726C  # "unrl", which SQLite keeps in the head of the file
LAYOUT = 1  # of the tables
TYPES = {"number": "REAL", "flag": "INTEGER", "integer": "INTEGER", "word": "TEXT"}


def names_of(job: Job) -> list[str]:
    """The columns of its settings and of its results."""
    return [*(parameter.name for parameter in job.parameters), *(column.name for column in job.columns)]


def opened(path: Path, job: Job) -> sqlite3.Connection:
    """A store of this job, looked through for damage; an empty file becomes one."""
    try:
        connection = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error as error:
        raise InvalidValueError(f"store: expected a file that can be opened, got {path} ({error})") from error
    try:
        with damage_said(path):
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                _make(connection, job)
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            _check(connection, path, job)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection, job: Job) -> None:
    kinds = [*(parameter.kind for parameter in job.parameters), *(column.kind for column in job.columns)]
    columns = [f'"{name}" {TYPES[kind]}' for name, kind in zip(names_of(job), kinds, strict=True)]
    key = "settings TEXT NOT NULL, seed INTEGER NOT NULL"
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")  # all of it, or the file is empty still
    connection.execute(f"PRAGMA application_id = {OURS}")
    connection.execute(f"PRAGMA user_version = {LAYOUT}")
    connection.execute("CREATE TABLE job (name TEXT, version INTEGER)")
    connection.execute(
        f"CREATE TABLE results ({key}, {', '.join(columns)}, {PROBLEM} TEXT NOT NULL, PRIMARY KEY (settings, seed))"
    )
    connection.execute(f"CREATE TABLE plan ({key}, place INTEGER NOT NULL, PRIMARY KEY (settings, seed))")
    connection.execute("INSERT INTO job VALUES (?, ?)", (job.name, job.version))
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, path: Path, job: Job) -> None:
    def pragma(name: str) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    if pragma("application_id") != OURS or pragma("user_version") != LAYOUT:
        raise ResultFileError(f"store: expected a store of a sweep, got another database {path}; name another")
    found = connection.execute("SELECT name, version FROM job").fetchone() or ("nothing", 0)
    if found != (job.name, job.version):
        raise ResultFileError(
            f"store: expected {job.name} version {job.version}, got {found[0]} version {found[1]} in "
            f"{path}; name another"
        )
    columns = [row[1] for row in connection.execute("PRAGMA table_info(results)")]
    if columns != ["settings", "seed", *names_of(job), PROBLEM]:
        raise ResultFileError(f"store: expected the columns of {job.name}, got others in {path}; name another")
    connection.execute("PRAGMA synchronous = NORMAL")  # of WAL: whole whatever ends the process


@contextmanager
def damage_said(path: Path) -> Iterator[None]:
    """What SQLite says of a file becomes one line."""
    try:
        yield
    except sqlite3.OperationalError as error:  # the disk, or another program
        raise ResultFileError(
            f"store: expected a file that can be used, got {path} ({error}); name another"
        ) from error
    except sqlite3.DatabaseError as error:
        said = " ".join(str(error).split())
        raise ResultFileError(
            f"store: expected a store of a sweep, got something else or damage in {path} ({said}); name another"
        ) from error
