"""What every record can do: go to a file, and come back checked."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from unrolled.errors import ResultFileError
from unrolled.results.codec import decode, encode, require
from unrolled.results.shown import Plotted

HEAD = ("format", "version", "files", "partial")  # of a file, before the fields of its record


class Record(Plotted):
    """Base of the frozen dataclasses that go to a JSON file: `save(path)`, `load(path)`.

    `FORMAT` is the name that stands in the file, `VERSION` that of its layout, whose history stands beside it.
    `UPGRADES[v]` turns the fields of version v, in place, into those of version v + 1.
    """

    FORMAT: ClassVar[str]
    VERSION: ClassVar[int]
    UPGRADES: ClassVar[Mapping[int, Callable[[dict[str, Any]], None]]] = {}

    def save(self, path: str | Path, *, files: Sequence[str] = (), partial: bool = False) -> None:
        """Replace the file at `path` in one step; its folder must exist.

        `files` are the names of those that were written with it, `partial` says that more was to be measured.
        """
        write_atomically(Path(path), self.text(files, partial))

    def text(self, files: Sequence[str] = (), partial: bool = False) -> str:
        """What `save` writes: JSON on one line."""
        head = {"format": self.FORMAT, "version": self.VERSION, "files": list(files), "partial": partial}
        return json.dumps(head | encode(self), allow_nan=False) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises `ResultFileError` for anything else."""
        content = read_object(Path(path))
        found, version = content.get("format"), content.get("version")
        if found != cls.FORMAT:
            raise ResultFileError(f"results: expected a file of format {cls.FORMAT}, got {found!r} in {path}")
        if type(version) is not int or not (version == cls.VERSION or version in cls.UPGRADES):
            advice = "update unrolled" if type(version) is int and version > cls.VERSION else "measure it again"
            raise ResultFileError(
                f"results: expected version {cls.VERSION} of {cls.FORMAT}, got {version!r} in {path}; {advice}"
            )
        try:
            if version == cls.VERSION:
                decode(_With, {name: content[name] for name in HEAD[2:]})
            for old in range(version, cls.VERSION):
                cls.UPGRADES[old](content)
            return decode(cls, {name: value for name, value in content.items() if name not in HEAD})
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            said = " ".join(f"{type(error).__name__} {error}".removeprefix("ValueError ").split())
            raise ResultFileError(
                f"results: expected what unrolled wrote in {path}, got damage ({said[:300]}); measure it again"
            ) from error


@dataclass(frozen=True)
class _With:
    """What a file says beside its record; nothing in the files of before, which are upgraded."""

    files: tuple[str, ...]
    partial: bool

    def check(self) -> None:
        require(all(Path(name).name == name for name in self.files), "names of files beside this one")


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `ResultFileError` for anything else."""
    try:
        content = json.loads(path.read_bytes(), parse_constant=_no_number, object_pairs_hook=_each_once)
    except OSError as error:
        raise ResultFileError(
            f"results: expected a file that can be read, got {path} ({error.strerror}); name a results folder"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ResultFileError(
            f"results: expected JSON in {path}, got something else ({error}); name another"
        ) from error
    if not isinstance(content, dict):
        raise ResultFileError(f"results: expected a JSON object in {path}, got {type(content).__name__}")
    return content


def _no_number(name: str) -> None:
    """Refuse NaN and Infinity, which JSON does not have, though Python's reader takes them."""
    raise ValueError(f"{name} in place of a number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key that stands there twice")
    return found


def write_atomically(path: Path, content: str | bytes, prefix: str = ".") -> None:
    """Replace the contents of `path` in one step, leaving the old ones until the new ones are on the disk.

    `prefix` is of the name that the file has until then, beside it.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".unrolled")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(handle)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
