"""A run: the results of many races with their environment, on disk and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from unrolled.environment import Environment
from unrolled.errors import InvalidValueError
from unrolled.results.codec import IF_NOT_DEFAULT, require
from unrolled.results.record import Record
from unrolled.speed.load import Load
from unrolled.speed.network import network_frame
from unrolled.speed.result import Result, frame, settled

if TYPE_CHECKING:
    import pandas as pd

    from unrolled.speed.why.tries import Advice

Accounted = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
ROUNDED = 1e-3  # seconds, which version 1 wrote with four digits


def accounting(
    results: Sequence[Result], total_s: float, imports_s: float, share_stolen: float
) -> dict[str, float]:
    """Where the seconds of a run went; `share_outside` is not in rounds, warm-up or imports.

    `share_stolen` is what a hypervisor gave to others.
    """
    timed = _timed_seconds(results)
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


def _timed_seconds(results: Sequence[Result]) -> float:
    """The seconds of all calls: those of the reference, which all contenders of a race share, once."""
    shared = {(result.race, result.reference_seconds) for result in results if result.calls_of_reference == 2}
    races = {race for race, _ in shared}
    total = math.fsum(math.fsum(seconds) for _, seconds in shared)
    for result in results:
        if result.calls_of_reference == 2:
            total += math.fsum(result.seconds)
        elif not (result.is_reference and result.race in races):
            total += math.fsum((*result.seconds, *result.reference_seconds))
    return total


def _from_version_1(fields: dict[str, Any]) -> None:
    """It had null for NaN, and no `accounting` where the run was interrupted."""
    fields.setdefault("accounting", {})
    for result in fields["results"]:
        result["notes"] = []
        if result["equivalence_error"] is None:
            result["equivalence_error"] = "nan"


def _from_version_2(fields: dict[str, Any]) -> None:
    """Each contender had pairs of its own with the reference, all in one pass, and nobody looked at the machine."""
    fields |= {"before": None, "during": None}
    for result in fields["results"]:
        del result["reference_first"], result["noise_floor"]
        result |= {"passes": [len(result["seconds"])] if result["seconds"] else [], "preempted": []}
        result["recheck_error"] = "nan"


@dataclass(frozen=True, repr=False)
class Run(Record):
    """What `bench.json` holds; `started` is a date and time with its zone. `accounting` is that of the function.

    `before` and `during` say how busy the machine was, where anybody looked. `tried` are results of the fused module in
    other settings on the workload that took longest, that of the workload itself first, where advice was asked for.
    """

    FORMAT, VIEW = "unrolled.bench", "bench"
    VERSION = 3  # 1: null for NaN, no notes; 2: pairs, one pass
    UPGRADES = MappingProxyType({1: _from_version_1, 2: _from_version_2})

    environment: Environment
    started: str
    results: tuple[Result, ...]
    accounting: dict[str, Accounted]
    before: Load | None
    during: Load | None
    tried: tuple[Result, ...] = field(default=(), metadata=IF_NOT_DEFAULT)

    def check(self) -> None:
        """Raise `ValueError` for what no run gives."""
        require(datetime.fromisoformat(self.started).tzinfo is not None, "a start with its time zone")
        require(len(self.results) > 0, "results")
        require(all(each.is_reference for each in self.tried[:1]), "the reference first of what was tried")
        if not (spent := self.accounting):
            return
        given = [spent[name] for name in ("total_s", "imports_s", "share_stolen")]
        require(given[0] > 0 and min(given) >= 0, "an accounting of some time")
        expected = accounting(self.results, *given)
        require(set(spent) == set(expected), f"an accounting of {', '.join(expected)}")
        off = max(abs(spent[name] - expected[name]) for name in expected)
        require(off <= ROUNDED * (1 + 1 / given[0]), "an accounting of these results")

    @cached_property
    def settled(self) -> tuple[Result, ...]:
        """The results, with what all of them show together."""
        return settled(self.results)

    @cached_property
    def raced(self) -> tuple[Result, ...]:
        """The settled results of those that compute the same."""
        return tuple(result for result in self.settled if not result.is_another_network)

    @property
    def helped(self) -> tuple[Advice, ...]:
        """What was tried on the workload that took longest, and helped: the best first."""
        from unrolled.speed.why.tries import helped

        return helped((), self.tried)

    def frame(self) -> pd.DataFrame:
        """The results of those that compute the same as a tidy pandas table, one row each; see `network_frame`."""
        return frame(self.raced)

    def network_frame(self) -> pd.DataFrame:
        """Those of other networks, and of the references beside them."""
        return network_frame(self.settled)

    def only(self, cells: Sequence[str]) -> Run:
        """The results of some cells, by their names. Raises `InvalidValueError` where there are none."""
        results = tuple(result for result in self.results if result.workload.cell_name in cells)
        if not results:
            raced = dict.fromkeys(result.workload.cell_name for result in self.results)
            raise InvalidValueError(
                f"--cell: expected one of {', '.join(raced)}, got {', '.join(cells)}; name one"
            )
        some = replace(self, results=results)
        some.__dict__["settled"] = tuple(each for each in self.settled if each.workload.cell_name in cells)
        return some
