"""A group of files that replace their older selves together, once all of them are complete."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import InvalidValueError
from unrolled.output.files import writable_folder

if TYPE_CHECKING:
    import pandas as pd


def replace_together(folder: Path, write: Callable[[Path], Iterable[Path]]) -> list[Path]:
    """Let `write` fill a folder beside the files in `folder`, then move each of its files in place.

    Whatever `write` raises, the files in `folder`, which is made where there is none, stay as they were. Raises
    `InvalidValueError` where the disk says no.
    """
    writable_folder(folder)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as beside:
            complete = list(write(Path(beside)))
            return [path.replace(folder / path.name) for path in complete]
    except OSError as error:
        raise InvalidValueError(
            f"out: expected a folder with room for new files, got {folder} ({error.strerror}); what was there "
            "is still there, choose another"
        ) from error


def frame_to_csv(frame: pd.DataFrame, path: Path) -> Path:
    """Every digit of every number; NaN and inf by name, and nothing at all for what does not exist."""
    path.write_text(frame.to_csv(index=False, na_rep="nan", lineterminator="\n"), encoding="utf-8")
    return path
