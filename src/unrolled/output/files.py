"""Records to files and back. Every write is atomic: a reader, or an interruption, never meets half a file."""

from __future__ import annotations

import json
import math
import os
import tempfile
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


def plain(value: Any) -> Any:
    """NaN and inf as text, which JSON has no numbers for, in whatever dicts and lists they are."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def number(value: Any) -> Any:
    """The inverse of `plain` for one value that is a number or None."""
    return float(value) if value in ("nan", "inf", "-inf") else value
