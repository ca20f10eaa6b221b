"""A study as far as it has come, in a file of tensors and text, so that it goes on where it was."""

from __future__ import annotations

import glob
import io
import json
import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import torch
from filelock import FileLock, Timeout

from unrolled.errors import InvalidValueError
from unrolled.forecast.saved_run import restore, saved_run
from unrolled.forecast.setting import Setting
from unrolled.forecast.signals import CSV, fingerprint
from unrolled.forecast.training import Training
from unrolled.results.codec import decode, encode
from unrolled.results.record import write_atomically

FORMAT = "unrolled.forecast.checkpoint"
# 2: the content of the series beside the settings. Version 1 cannot go on, as nobody knows what it was trained on.
VERSION = 2
SAVE_EVERY = 2.0  # seconds of training that an interruption may lose
LONGEST = 200  # characters of its name that are in those of the files beside it


@dataclass(frozen=True)
class _Asked:
    """What was to be trained; `series` are fingerprints of what the signals stand for."""

    settings: tuple[Setting, ...]
    series: tuple[str, ...]


class Checkpoint:
    """The file `path`, held by one training at a time: read when made, written now and then.

    It holds what was asked for and, for each run begun, what `saved_run` says. It is loaded with
    `weights_only=True`, and everything in it is checked before the first run goes on. `with` lets go of it at the end.

    Raises `InvalidValueError` for a file that is something else, of other settings, or of a CSV file that has changed.
    A larger number of iterations is no other setting: the run goes on to it. Neither is another name of a CSV file
    with the same values in its column.
    """

    def __init__(self, path: Path, settings: Sequence[Setting]) -> None:
        self.path = path
        self.asked = _Asked(tuple(settings), tuple(fingerprint(setting.signal) for setting in settings))
        self._runs: list[dict[str, Any] | None] = [None] * len(settings)
        self._saved = perf_counter()
        self._prefix = f".{path.name[:LONGEST]}."
        exists = self._look()
        self._lock = FileLock(path.with_name(f"{self._prefix}lock"), blocking=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise InvalidValueError(
                f"checkpoint: expected a file that no other training writes to, got {path}; wait for that one to end, "
                "or name another"
            ) from None
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            for left in path.parent.glob(f"{glob.escape(self._prefix)}*.unrolled"):
                left.unlink(missing_ok=True)  # of a training that was killed as it wrote
            if exists:
                self._runs = self._read()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            Path(self._lock.lock_file).unlink(missing_ok=True)  # it is still held, so nobody else's
        self._lock.release()

    def is_due(self, now: float) -> bool:
        """Whether it is time to save."""
        return now - self._saved >= SAVE_EVERY

    def restore(self, k: int, training: Training) -> None:
        """Put the k-th run where it was saved; leave it at its start where it was not."""
        if self._runs[k] is not None:
            restore(self._runs[k], training)

    def save(self, k: int, training: Training) -> None:
        """Take over where the k-th run is now, and replace the file in one step."""
        self._runs[k] = saved_run(training)
        content = {
            "format": FORMAT,
            "version": VERSION,
            "asked": json.dumps(encode(self.asked)),
            "runs": self._runs,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        try:
            write_atomically(self.path, buffer.getvalue(), self._prefix)
        except OSError as error:
            raise self._unwritable(error) from error
        self._saved = perf_counter()

    def _look(self) -> bool:
        """Whether there is a file; raises where there can be none."""
        try:
            with suppress(FileNotFoundError):
                if not stat.S_ISREG(os.stat(self.path).st_mode):
                    raise InvalidValueError(
                        f"checkpoint: expected a file, got {self.path}, which is none; name another"
                    )
            with tempfile.TemporaryFile(dir=self.path.parent):
                return self.path.exists()
        except InvalidValueError:
            raise
        except (OSError, ValueError) as error:  # a name with a character that no name has
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> InvalidValueError:
        said = error.strerror if isinstance(error, OSError) else error
        return InvalidValueError(
            f"checkpoint: expected a file that can be written, got {self.path} ({said}); choose another"
        )

    def _read(self) -> list[dict[str, Any] | None]:
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise InvalidValueError(
                f"checkpoint: expected a file, got {self.path} ({error.strerror}); name another"
            ) from error
        except Exception as error:  # torch, pickle and zipfile have many ways of saying no
            raise self._damaged(type(error).__name__) from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise self._damaged("no checkpoint of a forecast")
        if (version := found.get("version")) != VERSION:
            raise InvalidValueError(
                f"checkpoint: expected version {VERSION}, got {version!r:.40} in {self.path}, which does not say what "
                "it was trained on; train again, with another file"
            )
        try:
            if found.keys() != {"format", "version", "asked", "runs"}:
                raise ValueError("expected what was asked for, and runs")
            asked = decode(_Asked, json.loads(found["asked"]))
            runs: list[dict[str, Any] | None] = found["runs"]
            if (
                type(runs) is not list
                or len(asked.settings) != len(asked.series)
                or len(runs) != len(asked.series)
            ):
                raise ValueError("expected a run for each setting")
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise self._damaged(error) from error
        if problem := self._misfit(asked):
            raise InvalidValueError(
                f"checkpoint: expected the training of these options, got one with {problem} in {self.path}; "
                "use its options, or name another file"
            )
        for setting, run in zip(self.asked.settings, runs, strict=True):
            if run is not None:
                self._check(run, setting)
        return runs

    def _check(self, run: dict[str, Any], setting: Setting) -> None:
        """Whether it can be restored: by doing it."""
        try:
            restore(run, Training(setting))
        except InvalidValueError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, RecursionError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: object) -> InvalidValueError:
        said = " ".join(str(error).split())
        return InvalidValueError(
            f"checkpoint: expected what this command saved, got something else in {self.path} ({said[:300]}); "
            "name another file"
        )

    def _misfit(self, saved: _Asked) -> str:
        """The first thing in which what was asked for is another, or nothing."""
        if len(saved.settings) != len(self.asked.settings):
            return f"{len(saved.settings)} runs in place of {len(self.asked.settings)}"
        for theirs, ours in zip(saved.settings, self.asked.settings, strict=True):
            for name in (field.name for field in fields(Setting)):
                before, now = getattr(theirs, name), getattr(ours, name)
                both_csv = name == "signal" and before.startswith(CSV) and now.startswith(CSV)
                if name != "iterations" and before != now and not both_csv:
                    return f"{name} {before} in place of {now}"
        for before, now, setting in zip(saved.series, self.asked.series, self.asked.settings, strict=True):
            if before != now:
                return f"another series than {setting.signal} holds now"
        return ""
