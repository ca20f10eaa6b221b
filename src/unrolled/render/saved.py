"""Records on disk, whatever command wrote them: found in a folder or by name, and known by what they say they are."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from unrolled.errors import ResultFileError
from unrolled.results.record import read_object

# The commands that leave a record, and the record; the file is named after the command, its format `unrolled.` and it.
RECORDS = {
    "bench": ("unrolled.speed.run", "Run"),
    "why": ("unrolled.speed.why.record", "Why"),
    "gradflow": ("unrolled.gradients.study", "Study"),
    "spectrum": ("unrolled.spectrum.study", "SpectrumStudy"),
    "learn": ("unrolled.learning.study", "Learning"),
    "advise": ("unrolled.advising.study", "Advice"),
    "sweep": ("unrolled.sweep.record", "Sweep"),
    "parallel": ("unrolled.over_time.record", "Parallel"),
    "forecast": ("unrolled.forecast.study", "Study"),
    "shapes": ("unrolled.shapes.record", "Shapes"),
}


def files_in(path: Path) -> list[Path]:
    """A results file itself; of a folder all there are, and parts where there is nothing whole."""
    if not path.is_dir():
        return [path]
    found = [path / f"{name}.json" for name in RECORDS if (path / f"{name}.json").exists()]
    found = found or [
        path / f"{name}.partial.json" for name in RECORDS if (path / f"{name}.partial.json").exists()
    ]
    if not found:
        names = [f"{name}.json" for name in RECORDS]
        raise ResultFileError(
            f"results: expected {', '.join(names[:-1])} or {names[-1]} in {path}, got a folder without; name a results "
            "folder"
        )
    return found


def load(path: Path, format: str | None = None) -> Any:
    """The record in a file, or the one of `format` in a folder: its part where there is nothing whole.

    Raises `ResultFileError` where there is none.
    """
    if format and path.is_dir():
        whole, part = (path / f"{format.removeprefix('unrolled.')}{end}" for end in (".json", ".partial.json"))
        path = part if part.exists() and not whole.exists() else whole
    module, name = RECORDS[name_of(path, format)]
    return getattr(import_module(module), name).load(path)


def view_of(record: Any) -> ModuleType:
    """The module that shows a record."""
    return import_module(f"unrolled.render.{record.VIEW}")


def name_of(path: Path, format: str | None = None) -> str:
    """The command that wrote a file, by what the file says."""
    found = read_object(path).get("format")
    known = {f"unrolled.{name}": name for name in RECORDS}
    if not isinstance(found, str) or found not in known or format not in (None, found):
        raise ResultFileError(
            f"results: expected a file of format {format or ', '.join(known)}, got {found!r} in {path}; name another"
        )
    return known[found]
