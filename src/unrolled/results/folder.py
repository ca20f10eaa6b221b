"""The folder that a run writes to: one run at a time, all of it or nothing, and the run before is kept."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Self

from filelock import FileLock, Timeout

from unrolled.errors import InvalidValueError
from unrolled.results.record import Record, read_object, write_atomically

SAVE_EVERY = 2.0  # seconds that a killed run may lose
WORTH = 20  # times as long as saving takes, at least, so that it costs at most 5 %
# What a command wrote beside its record before records named their files.
UNNAMED = {
    "unrolled.bench": ("bench.csv", "ratio-*.*g", "time-*-*.*g"),
    "unrolled.gradflow": ("flow.csv", "lengths.csv", "lengths.*g", "reach.*g"),
    "unrolled.spectrum": ("spectrum.csv", "gain.*", "singular_values.*", "spectrum.*g"),
    "unrolled.forecast": ("closed_loop.csv", "reach.*", "runs.csv", "loss.*g", "norm.*g", "prediction.*g"),
}


@contextmanager
def _signals_waiting() -> Iterator[None]:
    """What hears signals hears those that come inside right afterwards: a half-taken lock cannot be given back."""
    heard = {number: signal.getsignal(number) for number in signal.valid_signals()}
    ours = {number: handler for number, handler in heard.items() if callable(handler)}
    if not ours or threading.current_thread() is not threading.main_thread():  # where nobody may hear anew
        yield
        return
    came: list[int] = []
    for number in ours:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for each in came:
            signal.raise_signal(each)


class ResultFolder:
    """`with ResultFolder(path, "gradflow") as folder:` holds the folder while a run measures and writes.

    Until the run is finished the files of the last one stay. What it has so far is in `gradflow.partial.json`.
    Raises `InvalidValueError` where files cannot be written, or another run holds the folder.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.named, self.name = path, name
        self.path = path = path.absolute()  # a model may go elsewhere
        self.partial = path / f"{name}.partial.json"
        self._lock = FileLock(path / ".lock", blocking=False)
        self.latest: Path | None = None  # where what this run has measured is
        self._drawn = _files_of(self.partial)  # from the last part
        self._unsaved: Record | None = None
        self._due = 0.0

    def __enter__(self) -> Self:
        with writing(self.named):
            self._made = [place for place in (self.path, *self.path.parents) if not place.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                with _signals_waiting():
                    self._lock.acquire()
            except Timeout:
                raise InvalidValueError(
                    f"out: expected a folder that no other run writes to, got {self.named}; wait for that run to end, "
                    "or choose another"
                ) from None
            complete(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._lock.release()

    def close(self) -> None:
        """Save the latest part, and leave nothing half done, whatever was going on."""
        if not self._lock.is_locked:
            return
        self._save()
        with suppress(OSError):
            complete(self.path)
        Path(self._lock.lock_file).unlink(missing_ok=True)  # it is still held, so nobody else's
        with suppress(OSError):  # where something was written
            for place in self._made:
                place.rmdir()

    def keep(self, record: Record) -> None:
        """Save what has been measured so far: the first time at once, then every two seconds, and at the end."""
        self._unsaved = record
        if monotonic() >= self._due:
            self._save()

    def _save(self) -> None:
        began = monotonic()
        if self._unsaved is not None:
            with suppress(OSError):  # `finish` will say what is wrong with the disk
                self.path.mkdir(parents=True, exist_ok=True)
                self._unsaved.save(self.partial, partial=True, files=self._drawn)
                self.latest, self._unsaved = self.partial, None
        self._due = monotonic() + max(SAVE_EVERY, WORTH * (monotonic() - began))

    def finish(self, record: Record, write: Callable[[Path], Iterable[Path]]) -> list[Path]:
        """Put the record, and what `write` puts into a folder, in place of the last run, which goes to `previous/`."""
        with writing(self.named):
            self.path.mkdir(parents=True, exist_ok=True)
            record.save(self.partial, files=self._drawn)  # whatever becomes of the plots
            self.latest, self._unsaved = self.partial, None
            staging = self._staging()
            names = [path.name for path in write(staging)]
            record.save(staging / f"{self.name}.json", files=names)
            staging.rename(self.path / f".{self.name}.ready")
            complete(self.path)
            self.latest = self.path / f"{self.name}.json"
            for name in (*set(self._drawn).difference(names), self.partial.name):
                (self.path / name).unlink(missing_ok=True)
        return [self.path / name for name in (*names, f"{self.name}.json")]

    def add(self, source: Path, write: Callable[[Path], Iterable[Path]]) -> list[Path]:
        """Put what `write` puts into a folder beside the record at `source`, or where there is no other of its kind."""
        whole = self.path / f"{self.name}.json"
        if whole.exists() and not whole.samefile(source):
            raise InvalidValueError(
                f"out: expected a folder without another {whole.name}, got {self.named}; choose another"
            )
        with writing(self.named):
            drawn = list(write(self._staging()))
            if source.parent.samefile(self.path):
                content = read_object(source)
                content["files"] = sorted({*_files_of(source), *(path.name for path in drawn)})
                write_atomically(source, json.dumps(content) + "\n")
            return [path.replace(self.path / path.name) for path in drawn]

    def _staging(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.path, prefix=".", suffix=".unrolled"))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk refuses becomes an `InvalidValueError`."""
    try:
        yield
    except OSError as error:
        raise InvalidValueError(
            f"out: expected a folder that can be written, got {path} ({error.strerror}); choose another"
        ) from error


def complete(folder: Path) -> None:
    """Go on where a run was killed while it put its files in place, and remove what others left unfinished.

    Each step leaves a state from which the same steps lead to the end, as a record is moved after all its files.
    """
    for ready in folder.glob(".*.ready"):
        record = f"{ready.name[1:-6]}.json"
        if (ready / record).exists():
            new = {path.name for path in ready.iterdir()}
            for old in folder.glob("*.json"):
                if old.name == record or new.intersection(_files_of(old)):
                    _retire(old)
            for name in sorted(new, key=record.__eq__):
                if (folder / name).exists():  # somebody's own
                    _move(folder / name)
                (ready / name).replace(folder / name)
        shutil.rmtree(ready)
    for left in (*folder.glob(".*.unrolled"), *folder.glob(".unfinished-*")):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def _retire(record: Path) -> None:
    """Move a record and its files to `previous/`, in place of what is there of its name."""
    previous = record.parent / "previous"
    for name in (*_files_of(previous / record.name), record.name):
        (previous / name).unlink(missing_ok=True)
    for name in (*_files_of(record), record.name):
        with suppress(FileNotFoundError):
            _move(record.parent / name)


def _move(file: Path) -> None:
    """To `previous/`."""
    previous = file.parent / "previous"
    previous.mkdir(exist_ok=True)
    file.replace(previous / file.name)


def _files_of(record: Path) -> list[str]:
    """The names of the files that were written with a record."""
    try:
        content: Any = json.loads(record.read_bytes())
        if "files" not in content:
            return [path.name for pattern in UNNAMED[content["format"]] for path in record.parent.glob(pattern)]
        return [name for name in content["files"] if Path(name).name == name]
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return []  # none of ours, or none of today's
