"""The training loop: what every iteration did is kept, and how far back the network reaches at some of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import InvalidValueError, NonFiniteError
from unrolled.forecast.model import make_model
from unrolled.forecast.setting import Setting
from unrolled.forecast.task import Task, forecasting, recall
from unrolled.gradients.clipping import Clip, ClipReport
from unrolled.gradients.flow import GradientFlow, gradient_flow
from unrolled.gradients.watch import watch
from unrolled.results.codec import Count, require

MARKS = (0, 100, 1000)  # iterations before which the reach is looked at; it is at the end too
# What is kept of each iteration: norms are log10 of the global L2 norm, `clipped` is that after clipping,
# `touched` the share of entries (of steps, where the clip works on states) that were changed, `bound` the one in
# force.
COLUMNS = ("loss", "log10_norm", "log10_clipped", "touched", "cosine", "bound")


@dataclass(frozen=True, eq=False)
class Mark:
    """The gradient flow after so many iterations, or why there is none."""

    iteration: Count
    flow: GradientFlow | None
    problem: str = ""

    def check(self) -> None:
        """Raise `ValueError` unless there is a flow, or a reason why there is none."""
        require((self.flow is None) == bool(self.problem), "a flow, or why there is none")


def marks_of(iterations: int, stopped: bool) -> list[int]:
    """The iterations that a finished training has marks of; one that stopped began an iteration more than it did."""
    return sorted({iterations, *(mark for mark in MARKS if mark < iterations + stopped)})


def make_task(setting: Setting) -> Task:
    """What the setting's signal asks for."""
    symbols = setting.symbols
    task = forecasting(setting.signal, setting.length) if symbols is None else recall(symbols, setting.length)
    return task.to(setting.device)


class Training:
    """One run as far as it has come: `iteration` is how many are done, `problem` why there will be no more.

    `history` `(iterations, 6)` holds a row of `COLUMNS` for each, NaN where there was none.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.task = make_task(setting)
        self.model = make_model(setting, self.task)
        kind = torch.optim.Adam if setting.optimizer == "adam" else torch.optim.SGD
        self.optimizer = kind(self.model.parameters(), lr=setting.lr)
        self.clip = Clip.parse(setting.clip)
        self.order = self.task.order(setting.iterations, setting.batch_size, setting.seed).to(setting.device)
        self.history = np.full((setting.iterations, len(COLUMNS)), np.nan)
        self.state: Any = None
        self.iteration = 0
        self.problem = ""
        self.marks: list[Mark] = []
        self._parameters = list(self.model.named_parameters())

    @property
    def finished(self) -> bool:
        """Whether all iterations are done, or no more can be."""
        return self.iteration == self.setting.iterations or bool(self.problem)

    def run(self, until: int | None = None, tell: Callable[[Training], None] | None = None) -> None:
        """Do what is left of the iterations, or of the first `until` of them; `tell` hears of each.

        The reach is looked at where it is due, and at the end.
        """
        until = self.setting.iterations if until is None else until
        while self.iteration < until and not self.finished:
            if self.iteration in MARKS:
                self._mark()
            self._iterate()
            if tell:
                tell(self)
        if self.finished and (not self.marks or self.marks[-1].iteration < self.iteration):
            self._mark()

    def _iterate(self) -> None:
        rows = self.order[self.iteration]
        x, target = self.task.inputs[rows], self.task.targets[rows]
        try:
            state, report = (self._step_clipped if self.clip.works_on_states else self._clipped)(x, target)
        except NonFiniteError as error:
            self.problem = f"iteration {self.iteration + 1}: {error}"
            return
        bound = math.nan if report.bound is None else report.bound
        self.history[self.iteration, 1:] = (
            report.log10_before, report.log10_after, report.entries, report.cosine, bound,
        )  # fmt: skip
        self.optimizer.step()
        self.state = _detached(state) if self.task.carries else None
        self.iteration += 1

    def _clipped(self, x: Tensor, target: Tensor) -> tuple[Any, ClipReport]:
        """Leave clipped gradients in the parameters; gives the next state and what the clip did."""
        prediction, state = self.model(x, self.state)
        loss = self.task.loss(prediction, target)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.history[self.iteration, 0] = loss.item()
        return state, self.clip.clip_(self._parameters)

    def _step_clipped(self, x: Tensor, target: Tensor) -> tuple[Any, ClipReport]:
        """A bound at every step works inside the backward pass, so that pass is `gradient_flow`'s own."""
        seen: list[Any] = []

        def loss_of(result: tuple[Tensor, Any]) -> Tensor:
            """The loss of one forward pass, which is kept, with the state that it left."""
            prediction, state = result
            loss = self.task.loss(prediction, target)
            self.history[self.iteration, 0] = loss.item()
            seen.append(state)
            return loss

        arguments = (x,) if self.state is None else (x, self.state)
        flow = gradient_flow(self.model, arguments, loss_of, clip=self.clip)
        for name, parameter in self._parameters:
            parameter.grad = flow.gradient(name).to(parameter.dtype)
        return seen[0], cast(ClipReport, flow.clip)  # a flow that was clipped has one

    def _mark(self) -> None:
        """Keep the gradient flow, or why there is none, unless a checkpoint had it."""
        if any(mark.iteration == self.iteration for mark in self.marks):
            return
        try:
            self.marks.append(Mark(self.iteration, self._flow()))
        except InvalidValueError as error:
            self.marks.append(Mark(self.iteration, None, str(error)))

    def _flow(self) -> GradientFlow:
        """How far back the mean of the last prediction reaches, over the first sequence, from a state of 0."""
        self.optimizer.zero_grad()
        with watch(self.model) as watched:
            prediction, _ = self.model(self.task.inputs[:1])
            prediction[:, -1].mean().backward()
        self.optimizer.zero_grad()  # no step of the training is to be made along this gradient
        return watched.latest()


def _detached(state: Any) -> Any:
    """Out of the graph of this iteration, so that the next one does not run back into it."""
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
