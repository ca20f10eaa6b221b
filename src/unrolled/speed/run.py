"""A run: the results of many races with their environment, on disk and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.environment import Environment
from unrolled.errors import ResultFileError
from unrolled.output.files import RecordFile, read_records, write_csv
from unrolled.speed.result import Result, frame

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "unrolled.bench"
VERSION = 1
JSON_NAME = "bench.json"
CSV_NAME = "bench.csv"


@dataclass(frozen=True)
class Run:
    """What `bench.json` holds."""

    environment: Environment
    results: tuple[Result, ...]

    def frame(self) -> pd.DataFrame:
        """The results as a tidy pandas table, one row each."""
        return frame(self.results)


class RunFiles:
    """`bench.json` and `bench.csv` in a folder, up to date after every result."""

    def __init__(self, folder: Path, environment: Environment, started: str) -> None:
        self.folder = folder
        self.environment = environment
        self.results: list[Result] = []
        header = {"started": started, "environment": environment.to_dict()}
        self._json = RecordFile(folder / JSON_NAME, FORMAT, VERSION, header)

    def add(self, result: Result) -> None:
        """Keep a result, on disk too."""
        self.results.append(result)
        self._json.add(result.to_dict())
        write_csv(self.folder / CSV_NAME, (each.row() for each in self.results))

    def note(self, **header: Any) -> None:
        """Add facts about the whole run to the head of `bench.json`."""
        self._json.write(**header)

    def run(self) -> Run:
        """All results so far."""
        return Run(self.environment, tuple(self.results))


def load_run(path: Path) -> Run:
    """Read a `bench.json`, or the one in a results folder.

    Raises `ResultFileError` when there is none, or it is damaged or of another version.
    """
    file = path / JSON_NAME if path.is_dir() else path
    header, records = read_records(file, FORMAT, VERSION)
    try:
        environment = Environment(**header["environment"])
        return Run(environment, tuple(Result.from_dict(record) for record in records))
    except (KeyError, TypeError, ValueError) as error:
        raise ResultFileError(f"results: {file} is damaged ({type(error).__name__}: {error})") from error
