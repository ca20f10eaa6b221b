"""A race: one implementation against the fused reference on one workload, in one phase."""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.hearing import heard, notes
from unrolled.implementations import Implementation, implement, load
from unrolled.networks.workload import Workload
from unrolled.speed.equivalence import Equivalence, check_equivalence, compare
from unrolled.speed.memory import peak_bytes, saved_bytes
from unrolled.speed.pairs import PairedRounds, time_pairs
from unrolled.speed.result import Result
from unrolled.speed.statistics import MIN_ROUNDS, paired_ratio
from unrolled.speed.step import Step
from unrolled.torch_settings import settings_kept

# Beyond this many rounds an interval hardly narrows, while the files grow.
MAX_ROUNDS = 501
# Seconds of calls after which caches, thread pools and memory pools are warm.
WARM_UP_S = 0.05
# Calls of the loop that a compiler compiled, to know what compiling has to pay for.
UNCOMPILED_CALLS = 5

_compiler_config: Any = torch.compiler.config
_FUSED = load("fused")
RunPairs = Callable[[PairedRounds], list[float]]


def race(
    workload: Workload,
    phase: str,
    implementation: Implementation,
    *,
    budget: float = 0.5,
    noise_floor: float | None = None,
    run_pairs: RunPairs = time_pairs,
    timer: Callable[[], float] = perf_counter,
) -> Result:
    """Check, warm up, then time `implementation` and the fused reference in paired rounds.

    `budget` is in seconds, for the timed rounds of both sides; at least `MIN_ROUNDS` pairs are run.
    `noise_floor` is that of the fused module raced against itself on the same workload and phase;
    without it, that race is run first. `run_pairs` runs the rounds (pytest-benchmark, say).
    An implementation that differs from the oracle gets status `wrong` and no time. What it prints is not shown, and
    what it changes of torch's settings is put back between all calls; `notes` of the result say both.
    """
    with settings_kept() as changed, heard() as printed:
        result = _race(workload, phase, implementation, budget, noise_floor, run_pairs, timer, changed.put_back)
    return replace(result, notes=notes(changed, printed))


def _race(
    workload: Workload,
    phase: str,
    implementation: Implementation,
    budget: float,
    noise_floor: float | None,
    run_pairs: RunPairs,
    timer: Callable[[], float],
    put_back: Callable[[], None],
) -> Result:
    if noise_floor is None and implementation.name != "fused":
        noise_floor = race(workload, phase, _FUSED, budget=budget, timer=timer).noise_floor
    spent: dict[str, float] = {}
    facts: dict[str, Any] = {
        "workload": workload,
        "phase": phase,
        "implementation": implementation.name,
        "threads": torch.get_num_threads(),
        "spent_s": spent,
    }
    with _spending(spent, "check"):
        found = check_equivalence(workload, implementation)
    facts |= {"equivalence_error": found.error, "equivalence_where": found.where}
    if not found.equal:
        return Result(**facts, status="wrong", reason=f"in float64: {found}")

    reference = workload.reference()
    fused = Step(reference, workload.input(), workload.target(), phase, put_back)
    with _spending(spent, "warm_up"):
        contender, found, fused_s, contender_s = _first_calls(fused, reference, implementation)
        if not found.equal:
            return Result(**facts, status="wrong", reason=f"in {workload.dtype}: {found}")
        pair_s = fused_s + contender_s
        if pair_s < WARM_UP_S or implementation.uncompiled is not None:
            pair_s = _warm_up(fused, contender)

    rounds = min(max(MIN_ROUNDS, int(budget / pair_s)), MAX_ROUNDS) | 1  # odd, so that the median is a round
    pairs = PairedRounds(fused, contender, rounds, seed=workload.seed, timer=timer)
    with _without_garbage_collection():
        seconds = run_pairs(pairs)
    if not seconds:  # benchmarking is disabled: checked and run once, but there is nothing to report
        return Result(**facts)
    if implementation.name == "fused":
        noise_floor = paired_ratio(seconds, pairs.reference_seconds).noise_floor
    if implementation.uncompiled is not None:
        facts["compile_s"] = contender_s - median(seconds)
        loop = implement(Implementation("uncompiled", implementation.uncompiled), reference)
        facts["uncompiled_s"] = _median_seconds(Step(loop, fused.input, fused.target, phase, put_back))
    with _spending(spent, "memory"):
        facts |= _memory(contender, reference)
    return Result(
        **facts,
        noise_floor=noise_floor or math.nan,
        seconds=tuple(seconds),
        reference_seconds=tuple(pairs.reference_seconds),
        reference_first=tuple(pairs.reference_first),
        event_seconds=tuple(contender.event_seconds),
        reference_event_seconds=tuple(fused.event_seconds),
    )


def _first_calls(
    fused: Step, reference: nn.Module, implementation: Implementation
) -> tuple[Step, Equivalence, float, float]:
    """Build the contender and call both sides once: do they agree, in the dtype that will be timed?

    Gives the contender, what the comparison found, and the seconds of the first call of each side.
    """
    start = perf_counter()
    expected = fused.quantities(reference)
    fused_s = perf_counter() - start
    if implementation.name == "fused":  # the same module: it need not be compared with itself
        contender = Step(reference, fused.input, fused.target, fused.phase, fused.put_back)
        return contender, Equivalence.exact(), fused_s, fused_s
    with _compiler_starting_cold(implementation):
        module = implement(implementation, reference)
        contender = Step(module, fused.input, fused.target, fused.phase, fused.put_back)
        start = perf_counter()
        got = contender.quantities(reference)
        contender_s = perf_counter() - start
    contender.put_back()
    # Half the digits: a wrong gate is off by far more, rounding over many steps by less.
    tolerance = 4 * _epsilon(fused.input) ** 0.5
    return contender, compare(expected, got, tolerance), fused_s, contender_s


def _epsilon(input: Tensor) -> float:
    """The spacing of numbers near 1 that products of this dtype are computed with."""
    if input.is_cuda and input.dtype == torch.float32 and torch.backends.cudnn.allow_tf32:
        return 2.0**-10  # TF32, which cuDNN's recurrences use unless told otherwise
    return torch.finfo(input.dtype).eps


def _warm_up(fused: Step, contender: Step) -> float:
    """Call both in turn for `WARM_UP_S`, at least once each; gives the median seconds of a pair."""
    deadline = perf_counter() + WARM_UP_S
    pair_seconds: list[float] = []
    while not pair_seconds or perf_counter() < deadline:
        pair_seconds.append(_seconds_of(fused) + _seconds_of(contender))
    return median(pair_seconds)


def _seconds_of(step: Step) -> float:
    step.reset()
    start = perf_counter()
    step()
    return perf_counter() - start


def _median_seconds(step: Step) -> float:
    return median(_seconds_of(step) for _ in range(1 + UNCOMPILED_CALLS))


def _memory(contender: Step, reference: nn.Module) -> dict[str, int | None]:
    contender.reset()
    owned = [contender.input, contender.target, *reference.parameters()]
    saved = saved_bytes(contender.loss, owned) if contender.phase == "training" else 0
    contender.reset()
    peak = peak_bytes(contender) if contender.input.is_cuda else None
    contender.reset()
    return {"saved_bytes": saved, "peak_bytes": peak}


@contextmanager
def _spending(spent: dict[str, float], what: str) -> Iterator[None]:
    start = perf_counter()
    try:
        yield
    finally:
        spent[what] = spent.get(what, 0.0) + perf_counter() - start


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """A collection in the middle of a round would be charged to whoever runs then."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _compiler_starting_cold(implementation: Implementation) -> Iterator[None]:
    """For an implementation that compiles: nothing compiled before, in memory or on disk, is used."""
    if implementation.uncompiled is None:
        yield
        return
    torch.compiler.reset()
    with warnings.catch_warnings(), _compiler_config.patch(force_disable_caches=True):
        warnings.filterwarnings("ignore", message=".*force_disable_caches")
        yield
