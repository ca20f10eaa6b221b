"""A run: the results of many races with their environment, on disk and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from unrolled.environment import Environment
from unrolled.errors import InvalidValueError
from unrolled.results.codec import require
from unrolled.results.record import Record
from unrolled.speed.result import Result, frame

if TYPE_CHECKING:
    import pandas as pd

Accounted = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
ROUNDED = 1e-3  # seconds, which version 1 wrote with four digits


def accounting(
    results: Sequence[Result], total_s: float, imports_s: float, share_stolen: float
) -> dict[str, float]:
    """Where the seconds of a run went; `share_outside` is not in rounds, warm-up or imports.

    `share_stolen` is what a hypervisor gave to others.
    """
    timed = math.fsum(s for r in results for s in (*r.seconds, *r.reference_seconds))
    warm_up = math.fsum(r.spent_s.get("warm_up", 0.0) for r in results)
    return {
        "total_s": total_s,
        "timed_s": timed,
        "warm_up_s": warm_up,
        "imports_s": imports_s,
        "checks_s": math.fsum(r.spent_s.get("check", 0.0) for r in results),
        "share_outside": (total_s - timed - warm_up - imports_s) / total_s,
        "share_stolen": share_stolen,
    }


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
    """What `bench.json` holds; `started` is a date and time with its zone. `accounting` is that of the function."""

    FORMAT = "unrolled.bench"
    VERSION = 2  # 1: null for NaN, no notes
    UPGRADES = MappingProxyType({1: _from_version_1})

    environment: Environment
    started: str
    results: tuple[Result, ...]
    accounting: dict[str, Accounted]

    def check(self) -> None:
        """Raise `ValueError` for what no run gives."""
        require(datetime.fromisoformat(self.started).tzinfo is not None, "a start with its time zone")
        require(len(self.results) > 0, "results")
        if not (spent := self.accounting):
            return
        given = [spent[name] for name in ("total_s", "imports_s", "share_stolen")]
        require(given[0] > 0 and min(given) >= 0, "an accounting of some time")
        expected = accounting(self.results, *given)
        require(set(spent) == set(expected), f"an accounting of {', '.join(expected)}")
        off = max(abs(spent[name] - expected[name]) for name in expected)
        require(off <= ROUNDED * (1 + 1 / given[0]), "an accounting of these results")

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
