"""What was advised: the diagnosis, the unchanged trainings, and each change beside them, as one record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from unrolled.advising.case import Case
from unrolled.advising.change import MOST, Change, Diagnosis, Outcome, changes_for
from unrolled.environment import Environment
from unrolled.learning.statistics import Quantile, at_most, share_of
from unrolled.progress import ProgressLine
from unrolled.results.codec import Count, Size, require
from unrolled.results.record import Record

CHANCE = 0.02  # that so many seeds or more are better by chance: 9 of 10 pass, 8 of 10 do not
UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Tried:
    """A change, and its trainings in the order of the seeds."""

    change: Change
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Advice(Record):
    """`unchanged` trainings from `seed` on, and those of each change; or a part of them.

    `asked` are the options that ask for it again.
    """

    FORMAT, VIEW = "unrolled.advise", "advise"
    VERSION = 1

    title: str
    goal: str
    asked: dict[str, str]
    seeds: Size
    seed: Count
    diagnosis: Diagnosis
    unchanged: tuple[Outcome, ...]
    tried: tuple[Tried, ...]
    environment: Environment

    def helped(self, tried: Tried) -> int:
        """The seeds in which the change was better: it reached the goal, sooner, or came to a smaller loss."""
        return sum(mine.rank > other.rank for mine, other in zip(tried.outcomes, self.unchanged, strict=False))

    def harmed(self, tried: Tried) -> int:
        """Those in which it was worse."""
        return sum(mine.rank < other.rank for mine, other in zip(tried.outcomes, self.unchanged, strict=False))

    def share(self, tried: Tried) -> Quantile:
        """Of seeds in which it helps, with a 99 % interval."""
        return share_of(self.helped(tried), len(tried.outcomes))

    def is_advised(self, tried: Tried) -> bool:
        """Whether it helped beyond chance: a sign test over the seeds in which something changed."""
        helped, harmed = self.helped(tried), self.harmed(tried)
        count = helped + harmed
        return len(tried.outcomes) == self.seeds and count > 0 and 1 - at_most(helped - 1, count, 0.5) <= CHANCE

    @property
    def advised(self) -> list[Tried]:
        """The changes that helped, that with most seeds first."""
        found = [tried for tried in self.tried if self.is_advised(tried)]
        return sorted(found, key=lambda tried: [o.reached for o in tried.outcomes].count(True), reverse=True)

    def trainings_frame(self) -> pd.DataFrame:
        """A row per change and seed; the first are unchanged."""
        groups = [(UNCHANGED, self.unchanged), *((t.change.describe(), t.outcomes) for t in self.tried)]
        return pd.DataFrame(
            [
                {
                    "change": name,
                    "seed": self.seed + k,
                    "reached": outcome.reached,
                    "iterations": outcome.iterations,
                    "loss": outcome.loss,
                    "problem": outcome.problem,
                }
                for name, outcomes in groups
                for k, outcome in enumerate(outcomes)
            ]
        )

    def changes_frame(self) -> pd.DataFrame:
        """A row per change: in how many seeds it helped, with its interval, and what was reached."""
        return pd.DataFrame([self._row(tried) for tried in self.tried], columns=list(COLUMNS))

    def _row(self, tried: Tried) -> dict[str, Any]:
        share = self.share(tried)
        return {
            "change": tried.change.describe(),
            "seeds": len(tried.outcomes),
            "reached": sum(outcome.reached for outcome in tried.outcomes),
            "reached_unchanged": sum(outcome.reached for outcome in self.unchanged),
            "helped": self.helped(tried),
            "harmed": self.harmed(tried),
            "share": share.value,
            "share_low": share.low,
            "share_high": share.high,
            "advised": self.is_advised(tried),
        }

    def describe(self) -> str:
        """Two lines for the foot of a plot: what was trained, and on what machine."""
        return (
            f"{self.title}: {self.goal}, {self.seeds} seeds from {self.seed} on\n{self.environment.describe()}"
        )

    def check(self) -> None:
        """Raise `ValueError` for what is not of one measurement, or a part of one."""
        require(len(self.unchanged) <= self.seeds and len(self.tried) <= MOST, "trainings from so many seeds")
        require(not self.tried or len(self.unchanged) == self.seeds, "the unchanged trainings first")
        require(not (self.diagnosis.is_healthy and self.tried), "nothing tried on what is healthy")
        changes = [tried.change for tried in self.tried]
        require(len(set(changes)) == len(changes), "each change once")
        for tried in self.tried:
            is_last = tried is self.tried[-1]
            require(len(tried.outcomes) == self.seeds or (is_last and len(tried.outcomes) <= self.seeds),
                    "as many trainings of each change")  # fmt: skip


COLUMNS = ("change", "seeds", "reached", "reached_unchanged", "helped", "harmed", "share", "share_low", "share_high",
           "advised")  # fmt: skip


def measure(
    case: Case,
    asked: dict[str, str],
    seeds: int = 10,
    seed: int = 0,
    progress: ProgressLine | None = None,
    keep: Callable[[Advice], None] | None = None,
) -> Advice:
    """Diagnose it; unless it is healthy, train it unchanged and with each change, from the same seeds."""
    diagnosis = case.diagnose()
    changes = () if diagnosis.is_healthy else changes_for(diagnosis, case.cell, case.can)
    advice = Advice(case.title, case.goal, asked, seeds, seed, diagnosis, (), (), Environment.without_load())
    if progress:
        progress.start(seeds * (len(changes) + bool(changes)))
    for change in (None, *changes) if changes else ():
        outcomes: tuple[Outcome, ...] = ()
        for k in range(seeds):
            if progress:
                progress.show(f"{change.describe() if change else UNCHANGED}, seed {seed + k}")
            outcomes = (*outcomes, case.train(seed + k, change))
            if progress:
                progress.advance()
            part = _with(advice, change, outcomes)
            if keep:
                keep(part)
        advice = part
    return advice


def _with(advice: Advice, change: Change | None, outcomes: tuple[Outcome, ...]) -> Advice:
    if change is None:
        return replace(advice, unchanged=outcomes)
    return replace(advice, tried=(*advice.tried, Tried(change, outcomes)))
