"""Some optimiser steps of a training loop that somebody else runs, each watched by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable

from torch import nn

from unrolled.checks import check_size
from unrolled.gradients.watch import Seen, Watch, watch
from unrolled.loggers.entry import Entry
from unrolled.plugins import first_line
from unrolled.rollout.targets import Cells, targets_of

# Given what was recorded, and whether an image belongs to it.
Send = Callable[[Entry, bool], None]

_log = logging.getLogger("unrolled.loggers")


class StepWatch:
    """Watches every `every`-th optimiser step, the first included, and lets all others run as if it were not there.

    A step may have several backward passes: accumulated gradients, several losses. Logged is the last of them that came
    through a recurrent layer, at which the parameters have the gradients of all passes up to it. Every
    `image_every`-th of the watched steps has an image, the first included; 0 is for none.
    """

    def __init__(self, every: int, image_every: int, cells: Cells) -> None:
        check_size("every", every)
        if image_every != 0:
            check_size("image_every", image_every)
        self.every, self.image_every, self.cells = every, image_every, cells
        self._watch: Watch | None = None
        self._step, self._loss_scale = 0, 1.0
        self._said: set[str] = set()

    @property
    def open(self) -> bool:
        """Whether a step is being watched."""
        return self._watch is not None

    def check(self, model: nn.Module) -> None:
        """Raise `InvalidValueError` where the model has nothing to watch."""
        targets_of(model, self.cells)

    def due(self, step: int) -> bool:
        """Whether to begin, after so many steps have been taken."""
        return not self.open and step % self.every == 0

    def begin(self, model: nn.Module, step: int, loss_scale: float = 1.0) -> None:
        """Watch from here on; `step` steps have been taken before."""
        self._step, self._loss_scale = step, loss_scale
        try:
            self._watch = watch(model, every=1, cells=self.cells)
        except Exception as error:  # frozen weights, say; the training goes on
            self.say(error)

    def end(self, send: Send) -> None:
        """The step is taken: stop watching, and hand on what was recorded, if anything was."""
        if self._watch is None:
            return
        history = self._watch.history
        self.close()
        try:
            entry = self._entry(history)
            if entry is not None:
                record = self._step // self.every
                send(entry, self.image_every > 0 and record % self.image_every == 0)
        except Exception as error:  # a full disk, say; the training goes on
            self.say(error)

    def close(self) -> None:
        """Take every hook off the model."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def say(self, problem: object) -> None:
        """Warn of what could not be logged, once."""
        text = first_line(problem) if isinstance(problem, Exception) else str(problem)
        if text not in self._said:
            self._said.add(text)
            _log.warning("step %d: %s", self._step, text)

    def _entry(self, history: list[Seen]) -> Entry | None:
        seen = last_of(history)
        if seen is None:
            self.say("not logged: no backward pass was seen")
        elif seen.flow is None:
            self.say(f"not logged: {seen.problem}")
        else:
            if seen.problem is not None:
                self.say(seen.problem)
            entry = Entry(seen.flow, self._loss_scale)
            if entry.scalars():
                return entry
            self.say("not logged: every gradient is 0")
        return None


def last_of(history: list[Seen]) -> Seen | None:
    """The last record that came through a recurrent layer; the last of all where none did."""
    through = [seen for seen in history if seen.calls]
    return next(reversed(through or history), None)
