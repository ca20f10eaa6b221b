"""Advice for a network on a task of known delay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from unrolled.advising.case import Case, flossed, start_of
from unrolled.advising.change import Change, Diagnosis, Outcome
from unrolled.errors import NonFiniteError
from unrolled.gradients.flow import gradient_flow
from unrolled.learning.settings import Settings
from unrolled.learning.training import REACH_BATCH, Training, seeded
from unrolled.networks.textbook import Network

FLOSS_STREAM = 15  # of a network's seed


@dataclass(frozen=True)
class OnTask(Case):
    """`network` on the task of `settings` at its one delay."""

    network: Network
    settings: Settings

    @property
    def title(self) -> str:  # type: ignore[override]
        """The network."""
        return self.network.name

    @property
    def goal(self) -> str:  # type: ignore[override]
        """The task and its delay."""
        return f"{self.settings.of.TITLE} over {self.delay} steps, up to {self.settings.iterations} iterations"

    @property
    def cell(self) -> str:  # type: ignore[override]
        """That of the network."""
        return self.network.workload.cell

    @property
    def delay(self) -> int:
        """The only one."""
        return self.settings.delays[0]

    def can(self, kind: str) -> bool:
        """A cell that is not torch's starts as it does itself; a clip that is there stays."""
        if kind == "clip":
            return self.settings.clip == "none"
        if kind == "floss":
            return self.cell in ("rnn_tanh", "gru")
        is_orthogonal = self.network.init.kind == "orthogonal" and self.network.gain == 1.0
        return not self.network.workload.is_own and not (kind == "init" and is_orthogonal)

    def diagnose(self) -> Diagnosis:
        """On sequences of twice the delay, so that the horizon can lie beyond it."""
        task, needs = self.settings.of, self.settings.of.lag(self.delay)
        generator = torch.Generator().manual_seed(self.network.workload.seed)
        x, _ = task.draw(self.settings.reach_delay, REACH_BATCH, generator)
        module = self.network.module()
        try:
            flow = gradient_flow(module, x.to(next(module.parameters(), x)), cells=self.network.cells)
        except NonFiniteError as error:
            return Diagnosis("none", float("nan"), None, needs, len(x), str(error))
        return Diagnosis.of(flow, needs)

    def train(self, seed: int, change: Change | None) -> Outcome:
        """As `unrolled learn` trains it."""
        clip = change.value if change is not None and change.kind == "clip" else None
        training = Training(self._started(seed, change), self.settings, self.delay, clip)
        if change is not None and change.kind == "floss":
            generator = torch.Generator().manual_seed(seed + 1_000_003 * FLOSS_STREAM)
            x, _ = self.settings.of.draw(self.settings.reach_delay, REACH_BATCH, generator)
            flossed(training.reader.recurrent, x.to(training.reader.readout.weight))
        reached = training.run()
        return Outcome(reached, training.iteration, training.loss, training.problem)

    def _started(self, seed: int, change: Change | None) -> Network:
        network = seeded(self.network, seed)
        cell, init = start_of(change)
        if init is None:
            return network
        workload = network.workload.replace(cell=cell or network.workload.cell)
        return replace(network, workload=workload, init=init, gain=1.0, forget_bias=None)
