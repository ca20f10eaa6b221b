"""A race: all contenders against the fused reference on one workload, in one phase, in rounds of all of them."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from time import perf_counter
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from unrolled.checks import check_choice, check_size, check_threads
from unrolled.errors import InvalidTypeError, InvalidValueError, TimeLimitError, is_out_of_memory
from unrolled.hearing import Printed, notes
from unrolled.implementations import Build, Implementation, as_implementation, implement, load
from unrolled.networks.workload import Workload
from unrolled.plugins import THEIRS, first_line
from unrolled.speed.as_timed import FRESH_STREAM, AsTimed
from unrolled.speed.equivalence import check_equivalence
from unrolled.speed.grid import COMPILED, PHASES
from unrolled.speed.memory import peak_bytes, saved_bytes
from unrolled.speed.network import MeasureHorizon, Network
from unrolled.speed.operations import flops
from unrolled.speed.result import PARTS, Result, settled
from unrolled.speed.rounds import Timer, timed, without_garbage_collection
from unrolled.speed.statistics import MIN_ROUNDS
from unrolled.speed.step import Quantities, Step, same_draws, train
from unrolled.time_limit import time_limit
from unrolled.torch_settings import KeptSettings, settings_kept

# Beyond this many rounds of a pass an interval hardly narrows, while the files grow.
MAX_ROUNDS = 501
# Seconds of calls after which caches, thread pools and memory pools are warm.
WARM_UP_S = 0.03
# Calls of the loop that a compiler compiled, to know what compiling has to pay for.
UNCOMPILED_CALLS = 5
# Every round has an input of its own: the same one, scaled by up to this much either way.
SCALED_BY = 0.1
# Passes of a race that is run by itself, one right after the other.
PASSES = 10

_compiler_config: Any = torch.compiler.config


def race(
    workload: Workload,
    phase: str,
    implementation: str | Build | Implementation,
    *,
    budget: float = 0.5,
    passes: int = PASSES,
    threads: int | None = None,
    timeout: float | None = None,
    timer: Timer = perf_counter,
) -> Result:
    """Check an implementation, then time it and the fused reference in rounds, then check it once more.

    `implementation` is a name such as `"cells"`, a path `"package.module:build"`, a function `build(reference)`, or an
    `Implementation`. `budget` is in seconds, for the timed calls of both sides; at least `MIN_ROUNDS` rounds are run,
    in so many `passes`. `threads` are torch's, as they are where it is None; `timeout` is in seconds, for what the
    implementation does in one pass, or in its checks.

    The result has status `wrong` and no time where something else was computed than the reference computes, `failed`,
    `out of memory` or `timed out` where the implementation came to no end, and a `reason`. What it prints is not shown,
    and what it changes of torch's settings is put back after each call; its `notes` say both.
    Raises an `UnrolledError` for arguments of another kind.
    """
    check_size("passes", passes)
    _check_request(workload, phase, threads, budget=budget, timeout=timeout)
    contender = as_implementation(implementation)
    with settings_kept():
        one = Race(workload, phase, [contender], threads=threads, timeout=timeout, timer=timer)
        one.prepare()
        for _ in range(passes):
            one.run_pass(budget / passes, MIN_ROUNDS / passes)
        one.finish()
    result = one.result(contender.name)
    assert result is not None
    return settled([result])[0]


def try_out(
    workload: Workload,
    phase: str,
    implementation: str | Build | Implementation,
    *,
    threads: int | None = None,
    timeout: float | None = None,
) -> Result:
    """Check an implementation and let it run once, without a clock: a result without times."""
    _check_request(workload, phase, threads, timeout=timeout)
    contender = as_implementation(implementation)
    with settings_kept():
        one = Race(workload, phase, [contender], threads=threads, timeout=timeout)
        one.prepare()
        if one.is_on:
            one.check()
        return one.outcome(contender.name)


def _check_request(workload: Workload, phase: str, threads: int | None, **times: float | None) -> None:
    """Raise an `UnrolledError` for what cannot be raced; `times` are seconds, or None."""
    if not isinstance(workload, Workload):
        raise InvalidTypeError(f"workload: expected a Workload, got {type(workload).__name__}; make one")
    check_choice("phase", phase, PHASES)
    for name, seconds in times.items():
        if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds < float("inf")):
            raise InvalidValueError(f"{name}: expected seconds above 0, got {seconds!r}")
    if threads is not None:
        check_threads("threads", threads)


class _Out(Exception):
    """A contender has dropped out."""


@dataclass
class Contender:
    """An implementation in a race, and what became of it."""

    implementation: Implementation
    status: str = "ok"
    reason: str = ""
    step: Step | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    spent_s: dict[str, float] = field(default_factory=dict)
    total_s: float = 0.0
    printed: Printed = field(default_factory=Printed)
    kept: KeptSettings = field(default_factory=KeptSettings)
    first_s: float = 0.0
    is_torchs: bool = False  # which prints nothing, and changes no settings
    network: Workload | None = None  # of another one, which is checked against its own reference
    own: AsTimed | None = None

    @property
    def is_in(self) -> bool:
        """Whether it takes part."""
        return self.status == "ok"

    @property
    def compiles(self) -> bool:
        """Whether its first call is another matter than those that follow."""
        return self.implementation.uncompiled is not None

    def drop(self, status: str, reason: str) -> None:
        """It does not take part any more: for the first reason that there is."""
        if self.is_in:
            self.status, self.reason, self.step = status, reason, None

    @contextmanager
    def _heard(self) -> Iterator[None]:
        with redirect_stdout(self.printed.stream), self.kept.watching():
            yield

    @contextmanager
    def runs(self, timeout: float | None) -> Iterator[None]:
        """Anybody's code runs inside: what it raises drops it out, and is raised on as `_Out`."""
        began = perf_counter()
        try:
            with nullcontext() if self.is_torchs else self._heard():
                if timeout is None:
                    yield
                else:
                    with time_limit(max(timeout - self.total_s, 1e-3), "--timeout"):
                        yield
        except TimeLimitError:
            self.drop("timed out", f"--timeout: expected at most {timeout:g} s, took longer; allow more")
            raise _Out from None
        except THEIRS as error:
            if isinstance(error, _Out):
                raise
            self.drop(
                "out of memory" if is_out_of_memory(error) else "failed",
                f"{type(error).__name__}: {first_line(error)}",
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            raise _Out from None
        finally:
            self.total_s += perf_counter() - began


# Of one call in a round: its seconds, those between CUDA events, and how often the process was pre-empted.
Row = dict[str, tuple[float, float | None, int]]
ERRORS = ("equivalence_error", "equivalence_where", "recheck_error")
REFERENCE, AGAIN = "the reference", "the reference again"  # in a round, beside the names of the contenders


class Race:
    """All contenders on one workload: `prepare()`, `run_pass(...)` as often as one likes, `finish()`, `result(name)`.

    In a round the reference runs twice, which shows the noise, and every contender once, in random order.
    A contender that raises, hangs, computes something else or changes what is not its own drops out; a round in which
    that happened is run again without it.
    """

    def __init__(
        self,
        workload: Workload,
        phase: str,
        implementations: Sequence[Implementation],
        *,
        threads: int | None = None,
        timeout: float | None = None,
        timer: Timer = perf_counter,
        horizon: MeasureHorizon | None = None,
    ) -> None:
        self.workload, self.phase, self.timeout, self.timer = workload, phase, timeout, timer
        self.threads = threads or torch.get_num_threads()
        torch.set_num_threads(self.threads)
        self.everybody = {each.name: self._contender(each) for each in implementations}
        self.fused = self.everybody.get("fused") or Contender(load("fused"))
        self.fused.is_torchs = not workload.is_own
        self.rows: list[Row] = []
        self.passes: list[int] = []
        self.round_s = 0.0
        self.lent: AsTimed | None = None
        self._streams = count(FRESH_STREAM)
        self._is_watched = False
        self._draws = random.Random(workload.seed)
        self.bytes_held = 0  # by modules and inputs, while they stay built
        self.horizon = horizon
        networks = [each.network for each in self.everybody.values() if each.network is not None]
        self._is_beside_another = bool(networks)
        self._draws_numbers = any(each.draws for each in (workload, *networks))

    def _contender(self, implementation: Implementation) -> Contender:
        cell = implementation.network
        return Contender(implementation, network=None if cell is None else self.workload.replace(cell=cell))

    @property
    def contenders(self) -> list[Contender]:
        """Those that take part, but for the reference itself."""
        return [each for each in self.everybody.values() if each.is_in and each.implementation.name != "fused"]

    @property
    def is_on(self) -> bool:
        """Whether anything is left to be timed."""
        return self.fused.is_in and ("fused" in self.everybody or bool(self.contenders))

    def prepare(self) -> None:
        """Build and check everybody, and let them run for the first time."""
        torch.set_num_threads(self.threads)
        for contender in self.contenders:
            with self._turn(contender, "check"):
                work = contender.network or self.workload
                found = check_equivalence(work, contender.implementation, self.phase)
                contender.facts |= {"equivalence_error": found.error, "equivalence_where": found.where}
                if not found.equal:
                    contender.drop("wrong", f"in float64: {found}")
        if self.is_on:
            self._build()
        if self.is_on and self._is_beside_another:
            self._describe_networks()

    def _build(self) -> None:
        """The reference and all contenders, each of which runs once."""
        with self._turn(self.fused, "warm_up"):
            lent = train(self.workload.reference(), self.phase)
            self._input, self._target = self.workload.input(), self.workload.target()
            self._base = self._input.clone()
            self._given = self.workload.as_called(self._input)
            self._reference = Step(_twin(self.workload, lent), self._given, self._target, self.phase)
            self._reference()
        with self._turn(self.fused, "check"):
            self.lent = AsTimed(self.workload, self.phase, self._reference.module, self._streams)
        if not self.fused.is_in:
            self._stop_without_reference()
            return
        for contender in self.contenders:
            with self._turn(contender, "warm_up"):
                self._first_call(contender, lent)
        modules = [each.step.module for each in self.contenders if each.step is not None]
        self.bytes_held = _bytes_of(self._input, self._base, self._target, lent, *modules)
        self.warm_up()

    def _first_call(self, contender: Contender, lent: nn.Module) -> None:
        if contender.network is not None:
            lent = train(contender.network.reference(), self.phase)
        parameters = self._reference.module if contender.network is None else lent
        with _compiler_starting_cold(contender.implementation):
            with settings_kept():
                module = implement(contender.implementation, lent)
            contender.step = Step(
                module,
                self._given,
                self._target,
                self.phase,
                parameters,
                contender.implementation.around,
            )
            began = perf_counter()
            with settings_kept():
                contender.step()
            contender.first_s = perf_counter() - began
        if what := self._what_changed(self._base):
            self._changed(contender, what)
        if contender.network is not None:
            twin = _twin(contender.network, lent)
            contender.own = AsTimed(contender.network, self.phase, twin, self._streams)

    def check(self) -> None:
        """Is it the same work, as it is timed? Whoever computes something else from a fresh input drops out."""
        assert self.lent is not None
        for contender in self.contenders:
            with self._turn(contender, "check"):
                assert contender.step is not None
                lent = contender.own or self.lent
                found = lent.check(contender.step.module, from_a_state=not contender.compiles)
                contender.facts["recheck_error"] = found.error if found.error >= 0 else 0.0
                if not found.equal:
                    lent.restore()
                    contender.drop("wrong", f"in {self.workload.dtype}: {found}")

    @contextmanager
    def _turn(self, contender: Contender, what: str) -> Iterator[None]:
        """Something is done for a contender, whose time is noted; what it raises drops it out."""
        began = perf_counter()
        try:
            with contender.runs(self.timeout):
                yield
        except _Out:
            self._restore()
        finally:
            spent = contender.spent_s
            spent[what] = spent.get(what, 0.0) + perf_counter() - began

    def warm_up(self) -> None:
        """Rounds that do not count, for `WARM_UP_S`, one at least; `round_s` is the median of their seconds."""
        began, seconds = perf_counter(), list[float]()
        while self.is_on and (not seconds or perf_counter() < began + WARM_UP_S):
            if (row := self._round()) is not None:
                seconds.append(sum(call[0] for call in row.values()))
        self.round_s = median(seconds) if seconds else 0.0
        spent = self.fused.spent_s
        spent["warm_up"] = spent.get("warm_up", 0.0) + perf_counter() - began

    def run_pass(self, seconds: float, fewest: float) -> None:
        """Rounds whose calls take so many seconds, and `fewest` of them at least.

        One of them, drawn at random, is compared with the reference in all that it computed.
        """
        if not self.is_on:
            return
        if (
            self._go_on() and self.passes and self.round_s < WARM_UP_S
        ):  # a longer one is warm after its first steps
            self.warm_up()
        while self.is_on:
            rows = self._rows(seconds, math.ceil(fewest))
            if self.changed() is None:
                self.rows += rows
                self.passes += [len(rows)] if rows else []
                return
            self._find_who_changed_it()  # what was timed on changed weights does not count

    def _go_on(self) -> bool:
        """Everything is there again, and nobody's time is up; whether it was there."""
        torch.set_num_threads(self.threads)
        for contender in (self.fused, *self.contenders):
            contender.total_s = 0.0
        is_there = self.lent is not None
        if not is_there:
            self._build()
        return is_there

    def _rows(self, seconds: float, fewest: int) -> list[Row]:
        expected = int(seconds / self.round_s) if self.round_s else 0
        compared, is_compared = self._draws.randrange(max(fewest, min(expected, MAX_ROUNDS))), False
        rows, spent = list[Row](), 0.0
        with without_garbage_collection():
            while self.is_on:
                enough = len(rows) >= fewest and (spent >= seconds or len(rows) >= MAX_ROUNDS)
                if enough and is_compared:
                    break
                compare = not is_compared and (enough or len(rows) >= compared)
                if (row := self._round(compare)) is not None:
                    rows.append(row)
                    is_compared = is_compared or compare
                    spent += sum(call[0] for call in row.values())
        return rows if self.is_on else []

    def _round(self, compare: bool = False) -> Row | None:
        """One round of all; None where somebody dropped out in it."""
        assert self.lent is not None
        given = self._base * (1 + SCALED_BY * (2 * self._draws.random() - 1))
        self._input.detach().copy_(given)
        if self._input.is_cuda:
            torch.cuda.synchronize()  # or the first call would be charged for it
        turns = [(name, self.fused, self._reference) for name in (REFERENCE, AGAIN)]
        turns += [
            (each.implementation.name, each, each.step) for each in self.contenders if each.step is not None
        ]
        self._draws.shuffle(turns)
        seed, draws = self._draws.getrandbits(32), compare or self._draws_numbers  # of random numbers
        row, outcomes = Row(), {}
        try:
            for name, contender, step in turns:
                versions, step.keeps = self.lent.versions(self._input), compare
                with contender.runs(self.timeout), same_draws(seed) if draws else nullcontext():
                    call = timed(step, self.timer)
                    if compare:
                        outcomes[name] = step.outcome()
                row[name] = (call.seconds, step.event_s(), call.preempted)
                suspicious = compare or self._is_watched or self.lent.versions(self._input) != versions
                if suspicious and (what := self._what_changed(given)):
                    self._changed(contender, what)
            self._compare(outcomes)
        except _Out:
            self._restore()
            self._stop_without_reference()
            return None
        return row

    def _compare(self, outcomes: dict[str, Quantities]) -> None:
        """Everybody computed in a timed round what the reference did in the same one."""
        assert self.lent is not None
        for contender in self.contenders:
            outcome = outcomes.get(contender.implementation.name)
            if outcome is not None and contender.network is None:
                found = self.lent.compare(outcomes[REFERENCE], outcome)
                if not found.equal:
                    contender.drop("wrong", f"in {self.workload.dtype}: {found}")
                    raise _Out

    def changed(self) -> str | None:
        """What is shared and is not as it was, in words: `changed weight_hh_l0, which the reference shares`."""
        return self.lent.changed() if self.lent is not None else None

    def _what_changed(self, given: Tensor) -> str | None:
        """The same, of the input too, which was `given`."""
        return self.changed() or (None if torch.equal(self._input, given) else "changed its input")

    def _changed(self, contender: Contender, what: str) -> NoReturn:
        self._restore()
        contender.drop("wrong", what)
        raise _Out

    def _restore(self) -> None:
        if self.lent is not None:
            self.lent.restore()

    def _find_who_changed_it(self) -> None:
        """Something that is shared was changed in a way that leaves no trace: everybody is called once more, alone.

        Where nobody does it again, it was the only one that there is, or the next rounds are watched call by call.
        """
        what = self.changed() or ""
        self._restore()
        suspects = self.contenders
        for contender, step in [(self.fused, self._reference), *((each, each.step) for each in suspects)]:
            with self._turn(contender, "check"):
                assert step is not None
                step()
                if found := self.changed():
                    self._changed(contender, found)
        self._stop_without_reference()
        if self.contenders == suspects and (len(suspects) == 1 or self._is_watched):
            for contender in suspects:
                contender.drop("wrong", what if len(suspects) == 1 else f"{what}, or another contender did")
        self._is_watched = True

    def _stop_without_reference(self) -> None:
        if not self.fused.is_in:
            for each in self.everybody.values():
                each.drop(self.fused.status, f"the reference: {self.fused.reason}")

    def finish(self) -> None:
        """After the clock: is it still the same work? And what does it keep in memory?"""
        if not (self.rows and self.is_on):
            return
        self._go_on()
        self.check()
        for contender in [each for each in self.everybody.values() if each.is_in]:
            began = perf_counter()
            with redirect_stdout(contender.printed.stream), contender.kept.watching(), suppress(*THEIRS):
                contender.facts |= _memory(contender.step or self._reference)
                contender.facts |= self._cost_of_compiling(contender.implementation)
                contender.facts["iterations"] = _iterations(contender.step)
            contender.spent_s["memory"] = perf_counter() - began

    def _describe_networks(self) -> None:
        """What each of them is, and the reference beside them."""
        for contender in [each for each in (self.fused, *self.contenders) if each.is_in]:
            if contender.network is not None or contender is self.fused:
                with self._turn(contender, "check"):
                    work, step = contender.network or self.workload, contender.step or self._reference
                    contender.facts["network"] = Network(
                        work.cell,
                        sum(parameter.numel() for parameter in step.reference.parameters()),
                        float(flops(work, self.phase)),
                        self.horizon(work) if self.horizon else None,
                    )

    def _cost_of_compiling(self, implementation: Implementation) -> dict[str, float]:
        """Seconds of a call of the loop that a compiler compiled."""
        if implementation.uncompiled is None:
            return {}
        loop = implement(Implementation("uncompiled", implementation.uncompiled), self._reference.module)
        step = Step(loop, self._given, self._target, self.phase)
        return {"uncompiled_s": median(timed(step).seconds for _ in range(1 + UNCOMPILED_CALLS))}

    def release(self, for_good: bool = False) -> None:
        """Let go of modules and inputs; what is compiled stays until the end, since compiling takes so long."""
        if self.lent is None or (not for_good and any(each.compiles for each in self.contenders)):
            return
        for contender in self.contenders:
            contender.step = contender.own = None
        self.lent, self.bytes_held = None, 0
        del self._reference, self._given, self._input, self._target, self._base

    def result(self, name: str) -> Result | None:
        """That of an implementation; None where it has none so far."""
        return self.outcome(name) if self.rows or not self.everybody[name].is_in else None

    def outcome(self, name: str) -> Result:
        """The same, without times where there are none."""
        contender = self.everybody[name]
        said = notes(contender.kept, contender.printed)
        facts: dict[str, Any] = {
            "workload": self.workload,
            "phase": self.phase,
            "implementation": contender.implementation.name,
            "threads": self.threads,
            "status": contender.status,
            "reason": contender.reason,
            "notes": said,
        }
        if contender.status in ("ok", "wrong"):
            facts |= {name: contender.facts[name] for name in ERRORS if name in contender.facts}
        if not (contender.is_in and self.rows):
            return Result(**facts)
        is_reference = contender.implementation.name == "fused"
        mine = [row[AGAIN if is_reference else contender.implementation.name] for row in self.rows]
        theirs = [[row[REFERENCE]] if is_reference else [row[REFERENCE], row[AGAIN]] for row in self.rows]
        if "uncompiled_s" in contender.facts:
            facts["compile_s"] = contender.first_s - median(call[0] for call in mine)
        spent = dict.fromkeys(PARTS, 0.0) | contender.spent_s
        if "fused" not in self.everybody and contender is next(iter(self.everybody.values())):
            spent["warm_up"] += self.fused.spent_s.get("warm_up", 0.0)
        return Result(
            **facts | contender.facts,
            passes=tuple(self.passes),
            seconds=tuple(call[0] for call in mine),
            reference_seconds=tuple(call[0] for calls in theirs for call in calls),
            preempted=tuple(k for k, row in enumerate(self.rows) if any(call[2] for call in row.values())),
            event_seconds=tuple(call[1] for call in mine if call[1] is not None),
            reference_event_seconds=tuple(call[1] for each in theirs for call in each if call[1] is not None),
            spent_s=spent,
        )


def _iterations(step: Step | None) -> tuple[int | None, ...]:
    """What modules that iterate say of their last call, by an attribute `iterations` as `newton` has it."""
    found: list[int | None] = []
    for module in step.module.modules() if step else ():
        counts = getattr(module, "iterations", ())
        if isinstance(counts, tuple) and all(
            each is None or (type(each) is int and each >= 0) for each in counts
        ):
            found += counts
    return tuple(found)


def _bytes_of(*held: nn.Module | Tensor) -> int:
    """Of tensors, and of the parameters and buffers of modules, each storage once."""
    tensors = (
        t
        for each in held
        for t in ((each,) if isinstance(each, Tensor) else (*each.parameters(), *each.buffers()))
    )
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def _twin(workload: Workload, lent: nn.Module) -> nn.Module:
    """A reference of its own with the parameters and buffers of the one that is lent, whatever becomes of that."""
    twin = workload.reference()
    for mine, theirs in zip(twin.modules(), lent.modules(), strict=True):
        for name, each in (*theirs.named_parameters(recurse=False), *theirs.named_buffers(recurse=False)):
            setattr(mine, name, each)
    return twin


def _memory(step: Step) -> dict[str, int | None]:
    step.reset()
    owned = [step.input, step.target, *step.reference.parameters()]
    saved = saved_bytes(step.loss, owned) if step.phase == "training" else 0
    step.reset()
    peak = peak_bytes(step) if step.input.is_cuda else None
    step.reset()
    return {"saved_bytes": saved, "peak_bytes": peak}


@contextmanager
def _compiler_starting_cold(implementation: Implementation) -> Iterator[None]:
    """For an implementation that compiles: nothing compiled before, in memory or on disk, is used.

    Those of our own compile new code each time; for others, all that is in memory is forgotten.
    """
    if implementation.uncompiled is None:
        yield
        return
    if implementation.name not in COMPILED:
        torch.compiler.reset()
    with warnings.catch_warnings(), _compiler_config.patch(force_disable_caches=True):
        warnings.filterwarnings("ignore", message=".*force_disable_caches")
        yield
