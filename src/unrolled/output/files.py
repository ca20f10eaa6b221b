"""Records to files and back. Every write is atomic: a reader, or an interruption, never meets half a file."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unrolled.errors import InvalidValueError, ResultFileError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace the contents of `path` in one step, leaving the old ones until then."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def writable_folder(path: Path) -> Path:
    """Make the folder `path`, with its parents; raise `InvalidValueError` where files cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def check_folder(path: Path) -> None:
    """Raise `InvalidValueError` where files cannot be written to the folder `path`, which is not made yet."""
    try:
        nearest = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> InvalidValueError:
    return InvalidValueError(
        f"out: expected a folder that can be written, got {path} ({error.strerror}); choose another"
    )


class RecordFile:
    """A versioned JSON file of records, complete on disk after each `add`.

    What an earlier run left under the same name is kept as `NAME.previous.json` from the first `add` on.
    """

    def __init__(self, path: Path, format: str, version: int, header: dict[str, Any]) -> None:
        self.path = path
        self._head = {"format": format, "version": version, **header}
        self._records: list[str] = []  # as JSON already, so that adding one does not encode all again

    def add(self, record: dict[str, Any]) -> None:
        """Append a record and write the file."""
        if not self._records and self.path.exists():
            self.path.replace(self.path.with_suffix(f".previous{self.path.suffix}"))
        self._records.append(json.dumps(record, allow_nan=False))
        self.write()

    def write(self, **header: Any) -> None:
        """Write the file; `header` adds to what stands before the records."""
        self._head |= header
        head = json.dumps(self._head, indent=1, allow_nan=False).removesuffix("\n}")
        records = ",\n".join(self._records)
        write_atomically(self.path, f'{head},\n "results": [\n{records}\n]}}\n')


def read_records(path: Path, format: str, version: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The header and the records of a `RecordFile`. Raises `ResultFileError` for anything else."""
    content = read_json(path, format, version)
    records = content.pop("results", None)
    if not isinstance(records, list):
        raise ResultFileError(f"results: expected a list of results in {path}, got {type(records).__name__}")
    return content, records


def read_json(path: Path, format: str, version: int) -> dict[str, Any]:
    """A JSON object that says it is of this format and version. Raises `ResultFileError` for anything else."""
    content = read_object(path)
    if content.get("format") != format:
        raise ResultFileError(f"results: expected a file of format {format}, got another in {path}")
    if content.get("version") != version:
        raise ResultFileError(
            f"results: expected version {version} of {format}, got {content.get('version')} in {path}; "
            "run it again"
        )
    return content


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `ResultFileError` for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultFileError(
            f"results: {path} cannot be read ({error.strerror}); name a results folder"
        ) from error
    except ValueError as error:
        raise ResultFileError(f"results: expected JSON in {path}, got something else ({error})") from error
    if not isinstance(content, dict):
        raise ResultFileError(f"results: expected a JSON object in {path}, got {type(content).__name__}")
    return content


def write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Rows with the same keys, as CSV; what is missing (None, NaN) is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for k, row in enumerate(rows):
        if k == 0:
            writer.writerow(row)
        writer.writerow("" if value is None or value != value else value for value in row.values())
    write_atomically(path, text.getvalue())
