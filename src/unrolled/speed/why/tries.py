"""Advice that was tried: the fused module with other threads, in another dtype or layout, compiled, all on the spot.

Each variant is a race of the fused module alone, and all of them are measured in the same passes, one after the other:
what is compared is the time of a variant over that of the workload as asked for, pass by pass (`speed.relative`). What
shares the parameters, such as `bptt`, was raced on the ladder already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unrolled.implementations import load
from unrolled.networks.workload import Workload
from unrolled.speed.relative import relative
from unrolled.speed.result import Result, settled
from unrolled.speed.statistics import RESOLUTION, Interval, verdict

if TYPE_CHECKING:
    from unrolled.progress import ProgressLine
    from unrolled.speed.race import Race

PASSES, FEWEST_ROUNDS = 7, 7
# What is tried by another implementation, in the rounds of the workload itself.
BY_IMPLEMENTATION = {
    "bptt": "the implementation bptt, which unrolled.faster(model) takes",
    "inference": "the implementation inference, which unrolled.faster(model) takes",
    "flushed": "denormal numbers flushed to 0, by torch.set_flush_denormal(True)",
}
COMPILED = "compiled"
# What is tried by another workload, whose fields stand for the braces.
WHAT = {
    "dtype": "{0.dtype} in place of float32",
    "batch_first": "an input laid out as (B, T, I), by batch_first=True",
    "packed": "sequences of 1 to {0.seq_len} steps packed, not padded",
}


@dataclass(frozen=True)
class Advice:
    """`what` was tried, and the ratio of its time to that without; `pays_after` so many calls, 0 where at once."""

    what: str
    ratio: Interval
    pays_after: float = 0.0

    def helps(self, floor: float, calls: int | None) -> bool:
        """Whether it was faster, beyond the noise, and pays within so many calls."""
        enough = self.pays_after <= (math.inf if calls is None else calls)
        return verdict(self.ratio, floor) == "faster" and enough


def variants(workload: Workload, threads: int, cores: int) -> Iterator[tuple[Workload, int]]:
    """What is tried: workloads, each with its threads; first the workload itself."""
    yield workload, threads
    if workload.device == "cpu":
        yield from ((workload, number) for number in dict.fromkeys((1, cores)) if number != threads)
    if workload.dtype == "float32":
        yield workload.replace(dtype="bfloat16"), threads
    yield workload.replace(batch_first=True), threads
    if workload.batch_size > 1 and workload.seq_len > 1:
        yield workload.replace(packed=True), threads


def tried(
    workload: Workload, phase: str, threads: int, budget: float, beside: Sequence[str], progress: ProgressLine
) -> tuple[Result, ...]:
    """The results of all variants, of the workload itself first, and after it those of implementations `beside` it.

    `budget` is in seconds, for the timed calls of all of them.
    """
    from unrolled.environment import usable_cores
    from unrolled.speed.race import Race

    races: list[Race] = []
    for variant, number in variants(workload, threads, usable_cores()):
        names = ["fused", *(beside if not races else ())]
        progress.show(f"checks · {variant.label}, {text_of(number)}")
        races.append(Race(variant, phase, [load(name) for name in names], threads=number))
        races[-1].prepare()
    for number in range(PASSES):
        progress.show(f"pass {number + 1} of {PASSES} of what is tried")
        for race in races:
            race.run_pass(budget / len(races) / PASSES, FEWEST_ROUNDS / PASSES)
    for race in races:
        race.finish()
        race.release(for_good=True)
    return tuple(race.outcome(name) for race in races for name in race.everybody)


def implementations(workload: Workload, phase: str) -> tuple[str, ...]:
    """Those that may help in place of the fused module."""
    if workload.device != "cpu":
        return ("bptt",) if phase == "training" else ()
    return ("bptt" if phase == "training" else "inference", "flushed")


def advice(ladder: Sequence[Result], trials: Sequence[Result]) -> list[Advice]:
    """Everything that was tried and got a time, helpful or not; both are settled, the workload's own result first."""
    found = [
        Advice(what, each.interval)
        for name, what in BY_IMPLEMENTATION.items()
        for each in ladder
        if each.implementation == name and each.timed
    ]
    if not trials or not trials[0].timed:
        return found
    first, *others = trials
    for each in [one for one in others if one.timed]:
        if each.implementation == COMPILED:
            found.append(Advice("the implementation compiled", each.interval, _pays_after(each)))
        elif not each.is_reference:
            found.append(Advice(BY_IMPLEMENTATION[each.implementation], each.interval))
        else:
            axis, what = _difference(first, each)
            (one,) = relative([first, each], axis)
            found.append(Advice(what, one.interval))
    return found


def helped(ladder: Sequence[Result], trials: Sequence[Result], calls: int | None = None) -> tuple[Advice, ...]:
    """What was faster beyond the noise, and pays within so many `calls`: the best first. Neither need be settled."""
    settled_trials = settled(trials)
    floor = next((each.noise_floor for each in settled_trials if each.timed), RESOLUTION)
    found = [each for each in advice(settled(ladder), settled_trials) if each.helps(floor, calls)]
    return tuple(sorted(found, key=lambda each: each.ratio.ratio))


def _difference(first: Result, other: Result) -> tuple[str, str]:
    """The axis along which a variant differs, and what was tried."""
    if other.threads != first.threads:
        return "threads", f"{text_of(other.threads)} in place of {first.threads}"
    axis = next(name for name in WHAT if getattr(other.workload, name) != getattr(first.workload, name))
    return axis, WHAT[axis].format(other.workload)


def text_of(threads: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{threads} thread{'s' * (threads != 1)}"


def _pays_after(result: Result) -> float:
    """Calls after which compiling has paid, in place of the fused module."""
    if result.compile_s is None:
        return 0.0
    gain = result.reference_median_s - result.median_s
    return math.ceil(result.compile_s / gain) if gain > 0 else math.inf
