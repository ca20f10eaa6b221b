"""One network trained on one task at one delay, up to where it has learned it or the iterations are over."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import NonFiniteError
from unrolled.gradients.clipping import Clip
from unrolled.gradients.flow import gradient_flow
from unrolled.gradients.reach import last_layer
from unrolled.implementations.bptt import build as bptt
from unrolled.implementations.flushed import around as denormals_flushed
from unrolled.learning.settings import Settings
from unrolled.networks.subject import their_errors
from unrolled.networks.textbook import Network
from unrolled.results.codec import Count, require

LOOK_EVERY = 25  # iterations between two looks at held-out sequences
HELD_OUT = 128  # sequences
REACH_BATCH = 8  # sequences that a horizon is measured on
# Of a network's seed, for read-out, training sequences, held-out sequences and those of the horizon.
READOUT_STREAM, TRAIN_STREAM, HELD_OUT_STREAM, REACH_STREAM = 11, 12, 13, 14


class Reader(nn.Module):
    """A recurrent module and a linear layer that reads every step: `x` `(T, B, I)` to predictions `(T, B, O)`."""

    def __init__(self, recurrent: nn.Module, readout: nn.Linear) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.readout = readout

    def forward(self, x: Tensor) -> Tensor:
        """Run from a state of 0, and read out."""
        prediction: Tensor = self.readout(self.recurrent(x)[0])
        return prediction


@dataclass(frozen=True)
class Horizon:
    """How far back the last layer hears of a loss at the last of `steps` steps; None where it hears nothing."""

    lag: Count | None
    steps: Count

    @property
    def is_censored(self) -> bool:
        """Whether it is all there is to hear, and so a lower bound."""
        return self.lag == self.steps - 1

    def check(self) -> None:
        """Raise `ValueError` for a lag that is beyond the first step."""
        require(self.lag is None or self.lag < self.steps, f"a lag below {self.steps}")


@dataclass(frozen=True)
class Trial:
    """One training: `iterations` done until it was learned or over, `loss` on held-out sequences at the last look.

    `after` is the horizon of what was trained. `problem` says where a loss or a gradient was not finite.
    """

    delay: Count
    iterations: Count
    loss: float
    learned: bool
    after: Horizon
    problem: str = ""


def seeded(network: Network, seed: int) -> Network:
    """The same network from another seed."""
    return replace(network, workload=network.workload.replace(seed=seed))


def make_reader(network: Network, outputs: int) -> Reader:
    """The network as it starts, with a read-out: one seed, one start."""
    workload, recurrent = network.workload, network.module()
    width = workload.directions * workload.state_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(workload.seed + 1_000_003 * READOUT_STREAM)
        readout = nn.Linear(width, outputs)
    return Reader(recurrent, readout.to(next(recurrent.parameters(), torch.empty(0))))


class Training:
    """A network that is trained on a task at a delay; `reader` has its weights at any time."""

    def __init__(self, network: Network, settings: Settings, delay: int, clip: str | None = None) -> None:
        self.network, self.settings, self.delay = network, settings, delay
        self.task = settings.of
        self.clip = Clip.parse(settings.clip if clip is None else clip)
        self.reader = make_reader(network, self.task.outputs)
        self.parameters = list(self.reader.named_parameters())
        self.optimizer = torch.optim.Adam(self.reader.parameters(), lr=settings.lr, fused=True)
        self.iteration, self.loss, self.problem = 0, math.nan, ""
        self._generator = _generator(network, TRAIN_STREAM + delay)
        self._held_out = self._drawn(HELD_OUT, _generator(network, HELD_OUT_STREAM))
        self._fast = Reader(_as_fast(self.reader.recurrent, self.clip), self.reader.readout)

    def run(self) -> bool:
        """Train until it is learned, or over; gives which."""
        while self.iteration < self.settings.iterations and not self.problem:
            self._iterate()
            if self.iteration % LOOK_EVERY == 0 or self.iteration == self.settings.iterations:
                self.loss = self._look()
                if self.settings.learned(self.loss, self.delay):
                    return True
        return False

    def _iterate(self) -> None:
        x, target = self._drawn(self.settings.batch_size, self._generator)
        try:
            if self.clip.works_on_states:
                self._step_clipped(x, target)
            else:
                self.optimizer.zero_grad()
                self.task.loss(self._fast(x), target).backward()  # type: ignore[no-untyped-call]
                self.clip.clip_(self.parameters)
        except NonFiniteError as error:
            self.problem = f"iteration {self.iteration + 1}: {error}"
            return
        self.optimizer.step()
        self.iteration += 1

    def _step_clipped(self, x: Tensor, target: Tensor) -> None:
        """A bound at every step works inside the backward pass, so that pass is `gradient_flow`'s own."""
        flow = gradient_flow(
            self.reader, x, lambda prediction: self.task.loss(prediction, target), clip=self.clip,
            cells=self.network.cells,
        )  # fmt: skip
        for name, parameter in self.parameters:
            parameter.grad = flow.gradient(name).to(parameter.dtype)

    @torch.no_grad()
    def _look(self) -> float:
        x, target = self._held_out
        return float(self.task.loss(self._fast(x), target))

    def _drawn(self, count: int, generator: torch.Generator) -> tuple[Tensor, Any]:
        x, target = self.task.draw(self.delay, count, generator)
        like = self.reader.readout.weight
        return x.to(like), target.to(like.device, like.dtype if target.is_floating_point() else target.dtype)

    def trial(self) -> Trial:
        """Run it, and look at how far it hears then."""
        with their_errors(self.network, self._held_out[0]):
            with denormals_flushed():  # a gradient that vanishes gets there, and takes three times as long
                learned = self.run()
            after = horizon(self.network, self.reader.recurrent, self.settings)
        return Trial(self.delay, self.iteration, self.loss, learned, after, self.problem)


def horizon(network: Network, recurrent: nn.Module, settings: Settings) -> Horizon:
    """As `unrolled gradflow` measures it, on sequences of the task at twice its longest delay."""
    delay = settings.reach_delay
    x, _ = settings.of.draw(delay, REACH_BATCH, _generator(network, REACH_STREAM))
    steps = len(x)
    like = next(recurrent.parameters(), x)
    try:
        flow = gradient_flow(recurrent, x.to(like), cells=network.cells)
    except NonFiniteError:
        return Horizon(None, steps)
    return Horizon(last_layer(flow).verdict.horizon, steps)


def _generator(network: Network, stream: int) -> torch.Generator:
    return torch.Generator().manual_seed(network.workload.seed + 1_000_003 * stream)


def _as_fast(recurrent: nn.Module, clip: Clip) -> nn.Module:
    """The same parameters and gradients, trained in less time where `bptt` has been measured to win.

    That is an RNN or a GRU on a CPU; an LSTM's backward pass there is oneDNN's, which is faster.
    """
    if not isinstance(recurrent, nn.RNN | nn.GRU) or clip.works_on_states:
        return recurrent
    return bptt(recurrent) if next(recurrent.parameters()).device.type == "cpu" else recurrent
