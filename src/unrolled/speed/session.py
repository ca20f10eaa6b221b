"""A benchmark session: races the cases one by one, keeps what they gave, and accounts for the time."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import perf_counter

import torch

from unrolled.environment import Environment, stolen_seconds
from unrolled.errors import TimeLimitError, is_out_of_memory
from unrolled.hearing import heard, notes
from unrolled.plugins import THEIRS, first_line
from unrolled.speed.grid import Case
from unrolled.speed.pairs import time_pairs
from unrolled.speed.race import RunPairs, race
from unrolled.speed.result import Result
from unrolled.speed.run import Run, accounting
from unrolled.speed.settings import Settings
from unrolled.time_limit import time_limit
from unrolled.torch_settings import settings_kept


@dataclass
class Session:
    """The state of a run; `started` and `imports_s` are seconds of `perf_counter` that the caller knows.

    `keep` is handed the run as far as it has come, after each result.
    """

    settings: Settings
    keep: Callable[[Run], object]
    started: float = field(default_factory=perf_counter)
    imports_s: float = 0.0

    def __post_init__(self) -> None:
        self.environment = Environment.capture()
        self.results: list[Result] = []
        self._date = datetime.now(UTC).isoformat(timespec="seconds")
        self._stolen_before = stolen_seconds()
        gc.collect()
        gc.freeze()  # what is imported by now need not be looked through before every race

    def run(self) -> Run:
        """All results so far, in order, and where the time went."""
        return Run(self.environment, self._date, tuple(self.results), self.accounting())

    def race(
        self,
        case: Case,
        run_pairs: RunPairs = time_pairs,
        timer: Callable[[], float] = perf_counter,
        keep: bool = True,
    ) -> Result:
        """Race a case and keep the result. A contender that fails, or hangs, gives a result that says why.

        `keep=False` checks and runs the case without recording it.
        """
        with settings_kept() as changed, heard() as printed:
            try:
                with time_limit(self.settings.timeout, "--timeout"):
                    result = race(
                        case.workload,
                        case.phase,
                        self.settings.implementations[case.implementation],
                        budget=self.settings.budget,
                        noise_floor=self._noise_floor(case) if keep else 1.0,
                        run_pairs=run_pairs,
                        timer=timer,
                    )
            except THEIRS as error:  # a contender is anybody's code; the other cases go on
                result = _failed(case, error)
        result = replace(result, notes=notes(changed, printed))
        if keep:
            self.results.append(result)
            self.keep(self.run())
        return result

    def _noise_floor(self, case: Case) -> float | None:
        """What fused against itself showed on this workload and phase, if that was raced already."""
        for result in self.results:
            same = (result.workload, result.phase) == (case.workload, case.phase)
            if same and result.implementation == "fused" and result.timed:
                return result.noise_floor
        return None

    def accounting(self) -> dict[str, float]:
        """Where the seconds of the run went, up to now."""
        total = perf_counter() - self.started
        stolen = (stolen_seconds() or 0.0) - (self._stolen_before or 0.0)
        return accounting(self.results, total, self.imports_s, stolen / (total * self.environment.cores))


def _failed(case: Case, error: BaseException) -> Result:
    """The result of a contender that raised, and the memory that it had taken for the next one."""
    reason = f"{type(error).__name__}: {first_line(error)}"
    status = "out of memory" if is_out_of_memory(error) else "failed"
    if isinstance(error, TimeLimitError):
        status, reason = "timed out", str(error)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return Result(
        workload=case.workload,
        phase=case.phase,
        implementation=case.implementation,
        threads=torch.get_num_threads(),
        status=status,
        reason=reason,
    )
