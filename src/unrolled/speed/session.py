"""A benchmark session: several passes over all races, the results as they come, and an account of the time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic, perf_counter

import torch

from unrolled.environment import Environment, memory_bytes
from unrolled.implementations import implement
from unrolled.networks.options import options
from unrolled.progress import ProgressLine
from unrolled.speed.grid import Case, RaceKey
from unrolled.speed.load import Load, Watch
from unrolled.speed.network import MeasureHorizon
from unrolled.speed.race import Race, try_out
from unrolled.speed.result import Result, settled
from unrolled.speed.rounds import Timer
from unrolled.speed.run import Run, accounting
from unrolled.speed.settings import Settings
from unrolled.speed.step import Step
from unrolled.speed.why.tries import implementations, tried
from unrolled.torch_settings import settings_kept

# Of the memory there is, what modules and inputs may take that stay built between passes.
SHARE_HELD = 0.25
KEEP_EVERY = 2.0  # seconds
ADVICE = 10  # budgets of a benchmark, for all that is tried in the end


@dataclass
class Session:
    """The state of a run; `started` and `imports_s` are seconds of `perf_counter` that the caller knows.

    `keep` is handed the run as far as it has come. `before` is how busy the machine was before the first round.
    `horizon` measures that of a network, where another one is raced beside it.
    """

    settings: Settings
    keep: Callable[[Run], object]
    started: float = field(default_factory=perf_counter)
    imports_s: float = 0.0
    before: Load | None = None
    horizon: MeasureHorizon | None = None

    def __post_init__(self) -> None:
        self.environment = Environment.capture()
        self.races: dict[RaceKey, Race] = {}
        self._cases: tuple[Case, ...] = ()
        self._date = datetime.now(UTC).isoformat(timespec="seconds")
        self._watch = Watch()
        self._during: Load | None = None
        self._final: dict[Case, Result] = {}
        self._tried: tuple[Result, ...] = ()
        self._kept = -KEEP_EVERY
        gc.collect()
        gc.freeze()  # what is imported by now need not be looked through before every race

    def result(self, case: Case) -> Result | None:
        """That of a case, as far as it has come; None where it has not."""
        if case in self._final:
            return self._final[case]
        race = self.races.get(case.race)
        return race.result(case.implementation) if race else None

    @property
    def results(self) -> list[Result]:
        """Those of all cases that have one so far, in the order of the cases."""
        return [found for case in self._cases if (found := self.result(case)) is not None]

    def run(self) -> Run:
        """All results so far, in order, and where the time went."""
        during = self._during or self._watch.load()
        total = perf_counter() - self.started
        results = tuple(self.results)
        spent = accounting(results, total, self.imports_s, during.stolen)
        return Run(self.environment, self._date, results, spent, self.before, during, self._tried)

    def measure(self, cases: Iterable[Case], progress: ProgressLine, timer: Timer = perf_counter) -> None:
        """Prepare all races, go over them in `settings.passes` passes, then check everybody once more.

        A contender that fails or hangs drops out of its race with a result that says why.
        """
        passes = self.settings.passes
        self._cases = tuple(cases)
        names: dict[RaceKey, list[str]] = {}
        for case in self._cases:
            names.setdefault(case.race, []).append(case.implementation)
        progress.start(len(names) * (passes + 1))
        self._watch = Watch()
        with settings_kept():
            for number in range(passes):
                for key in names:
                    if number == 0:
                        progress.show(f"checks · {key.label}")
                        self.races[key] = self._prepared(key, names[key], timer)
                    progress.show(f"pass {number + 1} of {passes} · {key.label}")
                    self._pass(self.races[key])
                    progress.advance()
            self._decide(progress)
            for key, race in self.races.items():
                progress.show(f"checks after the clock · {key.label}")
                race.finish()
                race.release(for_good=True)
                progress.advance()
                self._keep()
            if self.settings.advise:
                self._advise(progress)
        self._during = self._watch.load()
        self._final = {case: found for case in self._cases if (found := self.result(case)) is not None}
        self._final = dict(zip(self._final, settled(tuple(self._final.values())), strict=True))
        self.keep(self.run())

    def step(self, case: Case) -> Step:
        """The timed call of a case, made anew: for a profiler, say."""
        implementation = self.settings.implementations[case.implementation]
        network = implementation.network
        reference = (case.workload.replace(cell=network) if network else case.workload).reference()
        module = implement(implementation, reference)
        given = case.workload.as_called(case.workload.input())
        return Step(module, given, case.workload.target(), case.phase, around=implementation.around)

    def try_out(self, case: Case) -> Result:
        """Check a case and let it run once, without a clock."""
        implementation = self.settings.implementations[case.implementation]
        timeout = self.settings.timeout
        return try_out(case.workload, case.phase, implementation, threads=case.threads, timeout=timeout)

    def _prepared(self, key: RaceKey, names: list[str], timer: Timer) -> Race:
        implementations = [self.settings.implementations[name] for name in names]
        race = Race(
            key.workload,
            key.phase,
            implementations,
            threads=key.threads,
            timeout=self.settings.timeout,
            timer=timer,
            horizon=self.horizon,
        )
        race.prepare()
        return race

    def _pass(self, race: Race) -> None:
        settings = self.settings
        budget = settings.budget * len(race.everybody) / settings.passes
        race.run_pass(budget, settings.fewest_rounds / settings.passes)
        if sum(each.bytes_held for each in self.races.values()) > _may_be_held(race.workload.device):
            race.release()
        self._keep()

    def _decide(self, progress: ProgressLine) -> None:
        """More passes over the races in which a verdict is open, as long as `until_decided` allows.

        It is looked whether it is still open each time that their number has doubled: whoever looks after every pass
        sees by chance, sooner or later, what is not there.
        """
        deadline = perf_counter() + (self.settings.until_decided or 0.0)
        while perf_counter() < deadline and (undecided := self._undecided()):
            for key in undecided:
                for _ in range(len(self.races[key].passes)):
                    if (left := deadline - perf_counter()) > 0:
                        progress.show(f"{len(undecided)} undecided, {left:.0f} s left · {key.label}")
                        self._pass(self.races[key])

    def _advise(self, progress: ProgressLine) -> None:
        """Try other settings of the fused module on the workload that takes longest."""
        plain = (each for each in settled(self.results) if not (each.workload.is_own or options(each.workload)))
        if found := [each for each in plain if each.is_reference and each.timed]:
            longest = max(found, key=lambda each: each.reference_median_s)
            budget = ADVICE * self.settings.budget
            of = longest.workload, longest.phase
            self._tried = tried(*of, longest.threads, budget, implementations(*of), progress)

    def _undecided(self) -> list[RaceKey]:
        found = (
            zip(self._cases, settled(self.results), strict=True)
            if len(self.results) == len(self._cases)
            else ()
        )
        unclear = (case.race for case, each in found if each.verdict == "unclear" and not each.is_reference)
        return list(dict.fromkeys(unclear))

    def _keep(self) -> None:
        if monotonic() > self._kept + KEEP_EVERY:
            self.keep(self.run())
            self._kept = monotonic()


def _may_be_held(device: str) -> float:
    if device.startswith("cuda"):
        return SHARE_HELD * torch.cuda.get_device_properties(device).total_memory
    return SHARE_HELD * (memory_bytes() or float("inf"))
