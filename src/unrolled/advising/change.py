"""What a diagnosis finds, and the changes that may answer it: clipping for what explodes, memory for what vanishes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from unrolled.gradients.flow import GradientFlow
from unrolled.gradients.reach import last_layer
from unrolled.results.codec import Count, require

MOST = 3  # changes that are tried
KINDS = ("clip", "init", "gates", "cell", "floss")
# Memory of twice the lag that is needed: gates then keep it with room to spare (Tallec, Ollivier 2018, take T).
ROOM = 2


@dataclass(frozen=True)
class Diagnosis:
    """The last layer's gradient before training, over `steps` steps, as `unrolled gradflow` judges it.

    `hears` is the horizon, None where it hears nothing; `needs` the lag that the task asks for, None where nobody
    knows. Where `problem` says that NaN or inf was met, there is no more.
    """

    word: str
    decades_per_step: float
    hears: Count | None
    needs: Count | None
    steps: Count
    problem: str = ""

    @classmethod
    def of(cls, flow: GradientFlow, needs: int | None) -> Diagnosis:
        """From the flow of a loss at the last step."""
        profile = last_layer(flow)
        found = profile.verdict
        return cls(found.word, found.decades_per_step, found.horizon, needs, profile.steps)

    @property
    def explodes(self) -> bool:
        """Whether a clip may help."""
        return self.word == "exploding" or bool(self.problem)

    @property
    def forgets(self) -> bool:
        """Whether it hears less far than it needs to, or where nobody knows how far that is, less than all of it."""
        hears = -1 if self.hears is None else self.hears
        return not self.explodes and hears < (self.steps - 1 if self.needs is None else self.needs)

    @property
    def is_healthy(self) -> bool:
        """Whether there is nothing to change."""
        return not (self.explodes or self.forgets)

    def check(self) -> None:
        """Raise `ValueError` for what is no diagnosis."""
        require(self.steps > 0 and (self.hears is None or self.hears < self.steps), f"below {self.steps} steps")


@dataclass(frozen=True)
class Change:
    """One change: a `kind` of `KINDS`, and its value as the option of a command has it."""

    kind: str
    value: str

    def describe(self) -> str:
        """`clip norm:1`, `an LSTM with chrono:80`."""
        return {
            "clip": f"clip {self.value}",
            "init": f"{self.value} weights, gain 1",
            "gates": f"gate biases {self.value}",
            "cell": f"an LSTM with {self.value}",
            "floss": "flossing before training",
        }[self.kind]

    def check(self) -> None:
        """Raise `ValueError` for another kind."""
        require(self.kind in KINDS, f"a change, got {self.kind!r}")


def changes_for(diagnosis: Diagnosis, cell: str, can: Callable[[str], bool]) -> tuple[Change, ...]:
    """At most three that may help a network of this cell, of the kinds that it `can` have; none where it is healthy."""
    needs = diagnosis.steps - 1 if diagnosis.needs is None else diagnosis.needs
    chrono = f"chrono:{max(3, ROOM * needs)}"
    if diagnosis.explodes:
        found = [Change("clip", "norm:1"), Change("init", "orthogonal")]
    elif diagnosis.forgets:
        gated = [Change("gates", chrono), Change("init", "orthogonal"), Change("floss", "")]
        plain = [Change("init", "orthogonal"), Change("cell", chrono), Change("floss", "")]
        found = gated if cell in ("gru", "lstm") else plain
    else:
        found = []
    return tuple(change for change in found if can(change.kind))[:MOST]


@dataclass(frozen=True)
class Outcome:
    """One training: whether it reached its goal, after so many iterations, and the loss that it came to."""

    reached: bool
    iterations: Count
    loss: float
    problem: str = ""

    @property
    def rank(self) -> tuple[bool, int, float]:
        """The larger, the better: the goal, then fewer iterations to it, then a smaller loss."""
        loss = -self.loss if math.isfinite(self.loss) and not self.problem else -math.inf
        return self.reached, -self.iterations if self.reached else 0, loss
