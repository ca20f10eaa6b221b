"""The gradient flow of a model while somebody else's loop trains it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import pandas as pd
import torch
from torch import Tensor, nn

from unrolled.errors import InvalidTypeError, InvalidValueError, NonFiniteError
from unrolled.gradients.clipping.beside import ClipBeside
from unrolled.gradients.clipping.clip import Clip
from unrolled.gradients.flow import GradientFlow
from unrolled.gradients.profile import Profile
from unrolled.gradients.watched import WatchedCall, WatchedFused, WatchedRun
from unrolled.plugins import first_line
from unrolled.results.shown import Plotted
from unrolled.rollout.capture import Capture
from unrolled.rollout.fused import drops, module_of
from unrolled.rollout.scaled import LOG10_2, Scaled
from unrolled.rollout.targets import Cells, Target, never_called, targets_of


@dataclass(frozen=True)
class Seen:
    """One recorded backward pass: its number, from 1, and its flow, or why there is none.

    `problem` may also stand beside a flow that shows only a part of what happened. `calls` counts the recurrent calls
    that a gradient came back to.
    """

    backward: int
    flow: GradientFlow | None
    problem: str | None = None
    calls: int = 0


def watch(
    model: nn.Module,
    every: int | None = None,
    *,
    cells: Cells = (),
    budget: float | None = None,
    clip: str | Clip | None = None,
) -> Watch:
    """Record the gradient flow of every `every`-th backward pass of a training loop, the first included.

        with unrolled.watch(model, every=20) as watched:
            for batch in data:
                loss(model(batch)).backward()
                ...
                log(watched.latest().scalars())

    `every` is 20 by default. With `budget` in its place, such as 0.02, passes are recorded as often as that share of
    the loop's time allows; `print(watched)` says what it cost. `cells` names cells that are not torch's own.

    `clip`, such as `zclip:2.5` (see `unrolled.clipping`), says what that clip would have done to the gradient of each
    recorded pass: `watched.clip_frame()`. `zclip` and `auto`, whose bound comes from the norms so far, look at every
    pass. It sees the gradient as it is when the backward pass ends: summed over those since `zero_grad`, and with
    the loss scale of a `GradScaler`, so give the bound in those terms.

    Nothing about the training changes: weights are bit-identical to those without it, and nothing is raised inside a
    forward or backward pass. What cannot be shown is a `problem` in the history. Between records only hooks that count
    are left. Call `.close()`, or leave the `with` block, to take them off.

    What flows between recurrent modules and calls, and through cells, is what autograd itself sends there, so that
    part has autograd's range; within a call of a fused module norms never under- or overflow.
    """
    return Watch(model, every, cells=cells, budget=budget, clip=clip)


class Watch(Plotted):
    """A handle on a watched model; made by `watch`."""

    VIEW = "watch"

    def __init__(
        self,
        model: nn.Module,
        every: int | None = None,
        *,
        cells: Cells = (),
        budget: float | None = None,
        clip: str | Clip | None = None,
    ) -> None:
        self.every, self.budget = _every(every, budget), budget
        self.clip = None if clip is None else ClipBeside(Clip.parse(clip))
        targets = targets_of(model, cells)
        self._parameters = dict(model.named_parameters())
        self._compiled = any(getattr(module, "_compiled_call_impl", None) for module in model.modules())
        self.history: list[Seen] = []
        self.backwards = 0
        self._capture = Capture(targets, self._see)
        self._runs: dict[Target, WatchedRun] = {}
        self._arrived: dict[WatchedCall, None] = {}  # in this backward pass, in the order of arrival
        self._problems: list[str] = []
        self._targets = targets
        self._calls = 0  # seen since listening began
        self._kinds: set[type[nn.Module]] = set()  # of the modules that were ever seen
        self._running = self._counted = False
        self.seconds, self._began = 0.0, perf_counter()
        self._cost = self._before = 0.0  # of the last record, and of all before it
        self._listened = True
        if not any(p.requires_grad for target in targets for p in target.module.parameters()):
            raise InvalidValueError(
                "model: expected recurrent weights that are trained, got none with requires_grad; unfreeze them, or "
                "use unrolled.gradient_flow"
            )
        # All of them, as a loss that does not reach the recurrent ones is a finding too.
        trained: list[Any] = [p for p in self._parameters.values() if p.requires_grad]
        self._hooks = [parameter.register_post_accumulate_grad_hook(self._count) for parameter in trained]
        self._capture.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def elapsed(self) -> float:
        """Seconds since the model has been watched."""
        return perf_counter() - self._began

    def close(self) -> None:
        """Take every hook off the model; what was recorded stays."""
        self._capture.stop()
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._runs = [], {}

    def latest(self) -> GradientFlow:
        """The flow recorded last. Raises `InvalidValueError` where there is none, saying why."""
        if not self.history:
            came = f"{self.backwards} that were not due" if self.backwards else "none yet"
            raise InvalidValueError(
                f"watch: expected at least one recorded backward pass, got {came}; call .backward() on a loss first"
            )
        seen = self.history[-1]
        if seen.flow is None:
            raise InvalidValueError(f"watch: backward pass {seen.backward} has no flow: {seen.problem}")
        return seen.flow

    def frame(self) -> pd.DataFrame:
        """The history: the columns of `GradientFlow.frame()` after `backward`, the number of the pass."""
        frames = [
            seen.flow.frame().assign(backward=seen.backward) for seen in self.history if seen.flow is not None
        ]
        if not frames:
            return pd.DataFrame()
        history = pd.concat(frames, ignore_index=True)
        return history[["backward", *(name for name in history if name != "backward")]]

    def clip_frame(self) -> pd.DataFrame:
        """What `clip` would have done: `backward`, `clip`, then the columns of `ClipReport`; empty without a clip."""
        return pd.DataFrame() if self.clip is None else self.clip.frame()

    # Forward: every call is made as it would be; what it gave is listened to.

    def _see(
        self, target: Target, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        with self._time():
            before = torch.get_rng_state() if target.fused and drops(module_of(target)) else None
        result = call(*args, **kwargs)
        with self._time():
            try:
                self._note(target, args, kwargs, result, before)
            except Exception as error:  # whatever a call looks like, it is not ours to stop
                self._problem(f"a call of {target.name!r} could not be read: {first_line(error)}")
        return result

    def _note(
        self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, before: Tensor | None
    ) -> None:
        if not torch.is_grad_enabled():
            return
        self._calls += 1
        self._kinds.add(type(target.module))
        if torch._C._current_graph_task_id() != -1:  # a checkpoint runs its forward again, within this pass
            self._begin()
        if target.fused:
            WatchedFused(target, args, kwargs, result, before, self._receive)
            return
        run = WatchedRun.going_on(self._runs.get(target), target, args, kwargs)
        self._runs[target] = run
        run.step(result, args, kwargs, self._receive)

    # Backward: gradients arrive at what calls gave, and at the end of the pass all of them are there.

    def _receive(self, call: WatchedCall) -> None:
        self._arrived.setdefault(call)
        self._begin()

    def _count(self, _: Tensor) -> None:
        if not self._counted:
            self._counted = True
            self.backwards += 1
        self._begin()

    def _begin(self) -> None:
        if not self._running:
            # Runs at the end of this pass: all gradients are there, no weight has changed yet.
            self._running = True
            _at_the_end_of_this_pass(self._give_way)

    def _give_way(self) -> None:
        # Others wait for the end too: there DistributedDataParallel puts the average of all ranks into the gradients.
        _at_the_end_of_this_pass(self._end)

    @torch.no_grad()
    def _end(self) -> None:
        calls, counted = list(self._arrived), self._counted
        self._running = self._counted = False
        self._arrived, self._runs = {}, {}
        if not counted:  # a gradient that was asked for by torch.autograd.grad: no weights have got any
            for call in calls:
                call.forget()
            return
        with self._time():
            if self.clip is not None and (self._listened or self.clip.remembers):
                self._look(self.clip)
            if self._listened:
                try:
                    self._record(calls)
                except Exception as error:  # whatever came by, the training goes on
                    self.history.append(Seen(self.backwards, None, first_line(error), len(calls)))
            for call in calls:
                call.forget()
        if self._listened:
            self._cost, self._before = self.seconds - self._before, self.seconds
        self._listened = self._due(self.backwards + 1)
        if self._listened:
            self._capture.listen()
        else:
            self._capture.stop()

    def _due(self, backward: int) -> bool:
        if self.budget is None:
            return (backward - 1) % self.every == 0
        elapsed = perf_counter() - self._began
        return self.seconds + self._cost <= self.budget * elapsed

    def _record(self, calls: list[WatchedCall]) -> None:
        profiles: list[Profile] = []
        numbers: Counter[str] = Counter()
        for call in sorted(calls, key=lambda call: call.order):
            try:
                found, notes = call.profiles(numbers[call.target.name])
                numbers[call.target.name] += 1
                profiles += found
                for note in notes:
                    self._problem(note)
            except Exception as error:  # NaN and inf among them; the training goes on
                self._problem(first_line(error))
        if not calls:
            self._problem(self._why_nothing())
        for target in never_called(self._targets, self._kinds):
            self._problem(f"{type(target.module).__name__} ({target.name!r}) was never called")
        norms = self._norms()
        broken = [name for name, norm in norms.items() if math.isnan(norm)]
        if broken:
            self._problem(f"the gradient of {', '.join(broken)} has NaN or inf")
        problem = "; ".join(dict.fromkeys(self._problems)) or None
        self._problems, self._calls = [], 0
        flow = GradientFlow(tuple(profiles), norms, notes=(problem,) if problem else ())
        self.history.append(Seen(self.backwards, flow if profiles else None, problem, len(calls)))

    def _look(self, clip: ClipBeside) -> None:
        try:
            clip.look(self.backwards, self._parameters)
        except NonFiniteError:  # the record says so
            pass
        except Exception as error:
            self._problem(f"{clip.clip}: {first_line(error)}")

    def _norms(self) -> dict[str, float]:
        found = {}
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                gradient = parameter.grad.coalesce().values() if parameter.grad.is_sparse else parameter.grad
                gradient = torch.view_as_real(gradient) if gradient.is_complex() else gradient
                finite = bool(torch.isfinite(gradient).all())
                found[name] = LOG10_2 * float(Scaled.of(gradient).log2_norm()) if finite else math.nan
        return found

    def _why_nothing(self) -> str:
        if self._calls:
            return (
                f"no gradient came back to any of the {self._calls} calls that were seen: the loss does not depend "
                "on what they gave, or it was detached in between"
            )
        if self._compiled:
            return (
                "no recurrent call was seen: the model is compiled, so its calls are no longer made in Python"
            )
        return "no recurrent call was seen: its modules were run in another way, or without gradients"

    def _problem(self, text: str) -> None:
        self._problems.append(text)

    @contextmanager
    def _time(self) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self.seconds += perf_counter() - began


def _at_the_end_of_this_pass(call: Callable[[], None]) -> None:
    torch.autograd.Variable._execution_engine.queue_callback(call)


def _every(every: int | None, budget: float | None) -> int:
    """The interval asked for, checked. Raises `InvalidValueError` or `InvalidTypeError`."""
    if budget is not None:
        if every is not None:
            raise InvalidValueError(
                f"watch: expected every or budget, got both ({every} and {budget}); leave one out"
            )
        if isinstance(budget, bool) or not isinstance(budget, int | float):
            raise InvalidTypeError(
                f"budget: expected a share of the loop's time, got {budget!r}; try budget=0.02"
            )
        if not 0 < budget <= 1:
            raise InvalidValueError(
                f"budget: expected a share above 0 and up to 1, got {budget}; try budget=0.02"
            )
        return 1
    every = 20 if every is None else every
    if isinstance(every, bool) or not isinstance(every, int):
        raise InvalidTypeError(f"every: expected an integer of at least 1, got {every!r}; try every=20")
    if every < 1:
        raise InvalidValueError(f"every: expected an integer of at least 1, got {every}; try every=20")
    return every
