"""Networks trained on a task over its delay, as one record: what `unrolled learn` measures and keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from unrolled.environment import Environment
from unrolled.errors import InvalidValueError
from unrolled.learning.settings import LEARNED, Settings
from unrolled.learning.statistics import Quantile, learned_by_most, median_of, rank_correlation
from unrolled.learning.training import Horizon, Training, Trial, horizon, seeded
from unrolled.networks.record import NetworkRecord
from unrolled.networks.subject import records_of, their_errors
from unrolled.networks.textbook import Network
from unrolled.progress import ProgressLine
from unrolled.results.codec import Count, require
from unrolled.results.record import Record

DEFAULT = "default"  # how torch starts a cell, which other starts are compared with
WITHIN = (
    2.0  # a prediction holds if the horizon is within this factor of the delays between which learning ends
)


@dataclass(frozen=True)
class Learner:
    """One network from one seed: its horizon before training, and a training for each delay, from the shortest up."""

    network: str
    seed: Count
    before: Horizon
    trials: tuple[Trial, ...] = ()

    @property
    def learned(self) -> int:
        """The largest delay that it learned with all shorter ones; 0 where it learned none."""
        largest = 0
        for trial in self.trials:
            if not trial.learned:
                break
            largest = trial.delay
        return largest

    @property
    def after(self) -> Horizon:
        """The horizon of what was trained at that delay, or at the shortest where it learned none."""
        return next((trial.after for trial in self.trials if trial.delay == self.learned), self.trials[0].after)


@dataclass(frozen=True, eq=False, repr=False)
class Learning(Record):
    """`learners` in order: for each network all seeds; or the first of them."""

    FORMAT, VIEW = "unrolled.learn", "learn"
    VERSION = 1

    settings: Settings
    networks: tuple[NetworkRecord, ...]
    learners: tuple[Learner, ...]
    environment: Environment

    def trials_frame(self) -> pd.DataFrame:
        """A row per network, seed and delay."""
        return pd.DataFrame([row for learner in self.learners for row in self._rows(learner)])

    def _rows(self, learner: Learner) -> list[dict[str, Any]]:
        return [
            {
                "task": self.settings.task,
                "network": learner.network,
                "seed": learner.seed,
                "delay": trial.delay,
                "lag": self.settings.of.lag(trial.delay),
                "iterations": trial.iterations,
                "loss": trial.loss,
                "baseline": self.settings.of.baseline(trial.delay),
                "learned": trial.learned,
                "horizon_before": _number(learner.before),
                "horizon_before_is_censored": learner.before.is_censored,
                "horizon_after": _number(trial.after),
                "horizon_after_is_censored": trial.after.is_censored,
                "problem": trial.problem,
            }
            for trial in learner.trials
        ]

    def success_frame(self) -> pd.DataFrame:
        """A row per network and delay: the seeds that learned it with all shorter ones, of how many."""
        rows = []
        for network, learners in self.by_network().items():
            for delay in self.settings.delays:
                tried = [_at(learner, delay) for learner in learners]
                alone = [trial.learned for trial in tried if trial is not None]
                rows.append(
                    {
                        "network": network,
                        "delay": delay,
                        "seeds": len(learners),
                        "learned": sum(learner.learned >= delay for learner in learners),
                        "tried": len(alone),
                        "learned_alone": sum(alone),
                    }
                )
        return pd.DataFrame(rows)

    def networks_frame(self) -> pd.DataFrame:
        """A row per network: the largest delay that most seeds learned, beside horizons before and after."""
        return pd.DataFrame([self._row(name, learners) for name, learners in self.by_network().items()])

    def _row(self, name: str, learners: list[Learner]) -> dict[str, Any]:
        found = learned_by_most([learner.learned for learner in learners])
        before = [_number(learner.before) for learner in learners]
        after = [_number(learner.after) for learner in learners]
        return {
            "network": name,
            "seeds": len(learners),
            "learned": int(found.value),
            "low": int(found.low),
            "high": int(found.high),
            "coverage": found.coverage,
            "before": float(np.median(before)),
            "before_low": min(before),
            "before_high": max(before),
            "before_is_censored": float(np.median(before)) >= learners[0].before.steps - 1,
            "after": float(np.median(after)),
            "after_is_censored": float(np.median(after)) >= learners[0].before.steps - 1,
            "prediction": self._prediction(
                int(found.value), float(np.median(before)), learners[0].before.steps
            ),
        }

    def _prediction(self, learned: int, before: float, steps: int) -> str:
        """Whether the lag at which learning ends is within a factor of two of the horizon.

        It ends between the lags of the largest delay that was learned and of the next; after the longest, anywhere. A
        horizon of all steps is a lower bound, so that it is beyond what it is equal to.
        """
        task = self.settings.of
        first = task.lag(learned) if learned else 0
        beyond = [delay for delay in self.settings.delays if delay > learned]
        last = WITHIN * task.lag(beyond[0]) if beyond else math.inf
        if before * WITHIN < first:
            return "too short"
        is_beyond = before >= last if before >= steps - 1 else before > last
        return "too long" if is_beyond else "holds"

    def learners_frame(self) -> pd.DataFrame:
        """A row per network and seed: the largest delay learned, and both horizons."""
        return pd.DataFrame(
            [
                {
                    "network": learner.network,
                    "seed": learner.seed,
                    "learned": learner.learned,
                    "lag": self.settings.of.lag(learner.learned) if learner.learned else 0,
                    "before": _number(learner.before),
                    "before_is_censored": learner.before.is_censored,
                    "after": _number(learner.after),
                    "after_is_censored": learner.after.is_censored,
                }
                for learner in self.learners
                if learner.trials
            ]
        )

    def correlation(self, when: str = "before") -> Quantile:
        """Spearman's rank correlation of the largest delay learned with the horizon `before` or `after`."""
        frame = self.learners_frame()
        groups = [
            (part[when].to_numpy(float), part["learned"].to_numpy(float))
            for _, part in frame.groupby("network", sort=False)
        ]
        return rank_correlation(groups)

    def comparisons(self) -> list[Comparison]:
        """Every start of a cell beside torch's own, with paired seeds, where that is in the study."""
        starts = {record.name: record for record in self.networks}
        found = []
        for name, learners in self.by_network().items():
            other = next((base for base in starts.values() if _is_default_of(base, starts[name])), None)
            if other is not None and (against := self.by_network().get(other.name)):
                found.append(Comparison.of(learners, against, self.settings.delays[0]))
        return found

    def by_network(self) -> dict[str, list[Learner]]:
        """Those that were trained at least once."""
        names = dict.fromkeys(learner.network for learner in self.learners if learner.trials)
        return {
            name: [each for each in self.learners if each.network == name and each.trials] for name in names
        }

    @property
    def units(self) -> str:
        """The hidden units of its networks, for titles."""
        return self.networks[0].units

    def describe(self) -> str:
        """Two lines for the foot of a plot: what was trained, and on what machine."""
        return f"{self.settings.describe()}, {self.networks[0].units}\n{self.environment.describe()}"

    def check(self) -> None:
        """Raise `ValueError` for what is not of one measurement, or a part of one."""
        names = [network.name for network in self.networks]
        require(len(set(names)) == len(names) > 0, "a name for each network")
        require(len(self.learners) > 0, "learners")
        pairs = [(learner.network, learner.seed) for learner in self.learners]
        order = [(name, seed) for name in names for seed in self._seeds(name)]
        require(pairs == order[: len(pairs)], "networks and seeds in their order")
        for learner in self.learners:
            is_last = learner is self.learners[-1]
            self._check_trials(learner, is_last)

    def _seeds(self, name: str) -> range:
        (first,) = (network.seed for network in self.networks if network.name == name)
        return range(first, first + self.settings.seeds)

    def _check_trials(self, learner: Learner, is_last: bool) -> None:
        settings = self.settings
        require(learner.before.steps == settings.of.steps(settings.reach_delay), "a horizon of all those steps")
        delays = tuple(trial.delay for trial in learner.trials)
        require(delays == settings.delays[: len(delays)], "delays in their order")
        failed = [not trial.learned for trial in learner.trials]
        whole = len(delays) == len(settings.delays) or (not settings.every_delay and any(failed))
        require(whole or is_last, "trainings up to one that failed, or at every delay")
        require(settings.every_delay or not any(failed[:-1]), "no training after one that failed")
        for trial in learner.trials:
            require(trial.after.steps == learner.before.steps, "one length for all horizons")
            require(trial.iterations <= settings.iterations, f"at most {settings.iterations} iterations")
            require(trial.learned == settings.learned(trial.loss, trial.delay) or bool(trial.problem),
                    f"learned at {LEARNED:g} of the loss without a memory")  # fmt: skip
            require(not (trial.learned and trial.problem), "nothing learned where training ended early")


@dataclass(frozen=True)
class Comparison:
    """One start of a cell beside another, over paired seeds.

    `longer` and `shorter` count the seeds that learned a longer or a shorter delay, `factor` is of the delays.
    """

    network: str
    against: str
    seeds: int
    longer: int
    shorter: int
    factor: Quantile

    @classmethod
    def of(cls, learners: Sequence[Learner], against: Sequence[Learner], shortest: int) -> Comparison:
        """A delay of 0 counts as half of the shortest that was tried."""
        theirs = {learner.seed: learner.learned for learner in against}
        pairs = [(each.learned, theirs[each.seed]) for each in learners if each.seed in theirs]
        least = shortest / 2
        return cls(
            learners[0].network,
            against[0].network,
            len(pairs),
            sum(mine > other for mine, other in pairs),
            sum(mine < other for mine, other in pairs),
            median_of([max(mine, least) / max(other, least) for mine, other in pairs]),
        )


def _is_default_of(base: NetworkRecord, other: NetworkRecord) -> bool:
    mine, theirs = base.workload, other.workload
    starts_so = (base.init, base.gain, base.forget_bias) == (DEFAULT, 1.0, None)
    return mine is not None and theirs is not None and mine.cell == theirs.cell and starts_so and base != other


def _number(found: Horizon) -> float:
    return 0.0 if found.lag is None else float(found.lag)


def _at(learner: Learner, delay: int) -> Trial | None:
    return next((trial for trial in learner.trials if trial.delay == delay), None)


def measure(
    networks: Sequence[Network],
    settings: Settings,
    progress: ProgressLine | None = None,
    keep: Callable[[Learning], None] | None = None,
) -> Learning:
    """Train every network from every seed at every delay, from the shortest up; `keep` is given what there is so far.

    Each training begins with the weights of its seed. Raises `InvalidValueError` where there is no network, or two have
    one name.
    """
    if not networks:
        raise InvalidValueError("networks: expected at least one, got none; see unrolled.networks.textbook")
    study = Learning(settings, records_of(networks), (), Environment.without_load())
    if progress:
        progress.start(len(networks) * settings.seeds * len(settings.delays))
    for network in networks:
        for seed in range(network.workload.seed, network.workload.seed + settings.seeds):
            learner = _first(seeded(network, seed), settings)
            before, done = study, 0
            for delay in settings.delays:
                if progress:
                    progress.show(f"{network.name}, seed {seed}, delay {delay}")
                trial = Training(seeded(network, seed), settings, delay).trial()
                learner = replace(learner, trials=(*learner.trials, trial))
                study = replace(before, learners=(*before.learners, learner))
                done += 1
                if progress:
                    progress.advance()
                if not (trial.learned or settings.every_delay):
                    break
            if progress:
                progress.advance(len(settings.delays) - done)
            if keep:
                keep(study)
    return study


def _first(network: Network, settings: Settings) -> Learner:
    """A network before any training."""
    module = network.module()
    with their_errors(network, None):
        return Learner(network.name, network.workload.seed, horizon(network, module, settings))
