"""A run: the results of many races with their environment, on disk and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from unrolled.environment import Environment
from unrolled.errors import InvalidValueError
from unrolled.results.codec import Finite, require
from unrolled.results.record import Record
from unrolled.speed.result import Result, frame

if TYPE_CHECKING:
    import pandas as pd

# Where the time of a run went: seconds, and shares of the whole.
SPENT = ("total_s", "timed_s", "warm_up_s", "imports_s", "checks_s", "share_outside", "share_stolen")


def _from_version_1(fields: dict[str, Any]) -> None:
    """It had null for NaN, and no `accounting` where the run was interrupted."""
    fields.setdefault("accounting", {})
    for result in fields["results"]:
        result["notes"] = []
        for name in ("noise_floor", "equivalence_error"):
            if result[name] is None:
                result[name] = "nan"


@dataclass(frozen=True)
class Run(Record):
    """What `bench.json` holds; `started` is a date and time with its zone. `accounting` has the names of `SPENT`."""

    FORMAT = "unrolled.bench"
    VERSION = 2  # 1: null for NaN, no notes
    UPGRADES = MappingProxyType({1: _from_version_1})

    environment: Environment
    started: str
    results: tuple[Result, ...]
    accounting: dict[str, Finite]

    def check(self) -> None:
        """Raise `ValueError` for what no run gives."""
        require(datetime.fromisoformat(self.started).tzinfo is not None, "a start with its time zone")
        spent = self.accounting
        require(not spent or set(spent) == set(SPENT), f"an accounting of {', '.join(SPENT)}")
        # With several threads a clock of the processor counts more than the seconds that pass.
        counted = [value for name, value in spent.items() if name != "share_outside"]
        require(min(counted, default=0) >= 0, "an accounting of at least no time")

    def frame(self) -> pd.DataFrame:
        """The results as a tidy pandas table, one row each."""
        return frame(self.results)

    def only(self, cells: Sequence[str]) -> Run:
        """The results of some cells, by their names. Raises `InvalidValueError` where there are none."""
        results = tuple(result for result in self.results if result.workload.cell_name in cells)
        if not results:
            raced = dict.fromkeys(result.workload.cell_name for result in self.results)
            raise InvalidValueError(
                f"--cell: expected one of {', '.join(raced)}, got {', '.join(cells)}; name one"
            )
        return replace(self, results=results)
