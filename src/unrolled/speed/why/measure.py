"""Measure an explanation: the race of the ladder, then floors, operations and sizes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from unrolled.checks import check_choice, check_size
from unrolled.environment import Environment
from unrolled.errors import InvalidTypeError, InvalidValueError, UnrolledError
from unrolled.implementations import Implementation, implement
from unrolled.networks.options import options
from unrolled.networks.workload import Workload
from unrolled.progress import ProgressLine
from unrolled.speed.grid import PHASES
from unrolled.speed.load import Watch
from unrolled.speed.race import Race
from unrolled.speed.step import Step
from unrolled.speed.why.floors import floors
from unrolled.speed.why.ladder import contenders
from unrolled.speed.why.model import TERMS, Model, fit
from unrolled.speed.why.operations import operations
from unrolled.speed.why.record import LOOP, Why
from unrolled.speed.why.sizes import DESIGN, design, measured
from unrolled.speed.why.tries import COMPILED, tried
from unrolled.torch_settings import settings_kept

BUDGET = 10.0  # seconds of rounds: a sixth for what is tried, and of the rest half for the ladder, half for the sizes
TRIES = 1 / 6
PASSES, FEWEST_ROUNDS = 7, 7
# Of these the floor of dispatch is measured, and the operations are counted.
DISPATCHED = (LOOP, "projected", "fused")


def why(
    workload: Workload,
    phase: str = "training",
    *,
    budget: float = BUDGET,
    threads: int | None = None,
    sizes: bool = True,
    tries: bool = True,
    calls: int | None = None,
    progress: ProgressLine | None = None,
    keep: Callable[[Why], object] | None = None,
) -> Why:
    """Why a loop of cells takes longer than the fused module: what each change between them saves.

    `budget` is in seconds, for the timed calls; `threads` are torch's, as they are where it is None. With `sizes` times
    are also measured at other sizes, for a model that says where a loop gets cheap. With `tries` the fused module is
    also timed with other threads, in bfloat16, with other layouts, and compiled, if `calls` says for how many calls
    that should pay: `why.helped` is what helped. `keep` is handed what there is so far. Raises an `UnrolledError` for
    what cannot be explained: a cell of one's own has no fused module.
    """
    if not isinstance(workload, Workload):
        raise InvalidTypeError(f"workload: expected a Workload, got {type(workload).__name__}; make one")
    check_choice("phase", phase, PHASES)
    if not (math.isfinite(budget) and budget > 0):
        raise InvalidValueError(f"budget: expected seconds above 0, got {budget}")
    if workload.is_own:
        raise InvalidValueError(
            f"cell: expected one of torch's, which have a fused module to explain, got {workload.cell_name}; race it "
            "with compiled to see what its loop costs"
        )
    if isinstance(workload.hidden_size, tuple):
        raise InvalidValueError(
            f"hidden_size: expected one for all layers, got {workload.hidden_size}; choose one"
        )
    if given := options(workload):
        raise InvalidValueError(
            f"workload: expected torch's defaults, got {', '.join(given)}; leave that out, and race it instead"
        )
    if calls is not None:
        check_size("calls", calls)
    line = progress or ProgressLine(sys.stderr, quiet=True)
    line.start(PASSES + 3 + (len(DESIGN) if sizes else 0) + tries)
    with settings_kept():
        rest = (1 - TRIES * tries) * budget
        found = _raced(workload, phase, rest / 2 if sizes else rest, threads, line)
        if keep:
            keep(found)
        _next(line, "floors")
        by_name = {each.name: each for each in contenders(workload, phase)}
        found = replace(found, floors=floors(workload, phase, [by_name[name] for name in DISPATCHED]))
        _next(line, "operations")
        steps = {name: _step(by_name[name], workload, phase) for name in DISPATCHED}
        counted, launches = operations(steps)
        found = replace(found, operations=counted, launches=launches)
        if keep:
            keep(found)
        if tries:
            line.advance()
            number, beside = found.results[0].threads, [COMPILED] * (calls is not None)
            trials = tried(workload, phase, number, TRIES * budget, beside, line)
            found = replace(found, tried=trials, calls=calls)
            if keep:
                keep(found)
        return replace(found, model=_model(workload, phase, rest / 2, line)) if sizes else found


def _raced(workload: Workload, phase: str, budget: float, threads: int | None, line: ProgressLine) -> Why:
    watch = Watch()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    race = Race(workload, phase, contenders(workload, phase), threads=threads)
    line.show("checks")
    race.prepare()
    if not race.is_on:
        reference = race.outcome("fused")
        raise UnrolledError(
            f"{workload.label}: expected a reference that runs, got {reference.reason}; choose others"
        )
    for number in range(PASSES):
        _next(line, f"pass {number + 1} of {PASSES} of the ladder")
        race.run_pass(budget / PASSES, FEWEST_ROUNDS / PASSES)
    _next(line, "checks after the clock")
    race.finish()
    results = tuple(race.outcome(name) for name in race.everybody)
    race.release(for_good=True)
    return Why(Environment.capture(), started, results, (), (), (), None, watch.load())


def _next(line: ProgressLine, what: str) -> None:
    line.advance()
    line.show(what)


def _step(implementation: Implementation, workload: Workload, phase: str) -> Step:
    reference = workload.reference()
    module = implement(implementation, reference)
    return Step(module, workload.input(), workload.target(), phase, reference, implementation.around)


def _model(workload: Workload, phase: str, budget: float, line: ProgressLine) -> Model | None:
    """None where there was time for too few sizes."""
    points = list(measured(design(workload), phase, LOOP, budget=budget, show=partial(_next, line)))
    return fit(points, workload) if len(points) > len(TERMS) else None
