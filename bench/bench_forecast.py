"""What does it cost to record a training: every norm, the reach four times, the closed loop at the end?

pytest bench/bench_forecast.py --benchmark-only
"""

from time import perf_counter

import pytest
import torch
from torch import nn

from unrolled.forecast.record import Run, fingerprint
from unrolled.forecast.setting import Setting
from unrolled.forecast.study import listener
from unrolled.forecast.training import Training
from unrolled.progress import ProgressLine
from unrolled.speed.statistics import paired_ratio

ROUNDS = 15
STEPS = 400  # iterations of a round: 15 rounds are one training of the classic length
BAR = 1.15


@pytest.fixture(autouse=True)
def threads(threads_asked):
    """One thread, as the command has it, unless `--threads` asks for another number."""
    with threads_asked(1):
        yield


class Contender:
    """A training that does its next `STEPS` iterations at each call, as `time_rounds` calls it."""

    def __init__(self, setting):
        self.training = Training(setting)

    def reset(self):
        """Nothing: each round goes on where the last one stopped."""


class Recorded(Contender):
    """Ours, with the progress line listening."""

    def __init__(self, setting, stream):
        super().__init__(setting)
        self.tell = listener(0, self.training, None, ProgressLine(stream))

    def __call__(self):
        """One timed call."""
        self.training.run(self.training.iteration + STEPS, self.tell)


class Bare(Contender):
    """The same start and the same data in the loop that anybody would write; it records nothing."""

    def __init__(self, setting):
        super().__init__(setting)
        self.model, self.task, self.done, self.state = self.training.model, self.training.task, 0, None
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=setting.lr)
        self.criterion = nn.MSELoss()

    def __call__(self):
        """One timed call."""
        for rows in self.training.order[self.done : self.done + STEPS]:
            x, target = self.task.inputs[rows], self.task.targets[rows]
            prediction, state = self.model(x, self.state)
            self.state = state.detach()
            loss = self.criterion(prediction, target)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.done += STEPS


@pytest.mark.parametrize("clip", ["none", "norm:10"])
def bench_classic(clip, time_rounds, say, tmp_path):
    """A whole classic training, in rounds beside those of a bare loop, and all that comes after it."""
    setting = Setting(clip=clip, iterations=ROUNDS * STEPS)
    with (tmp_path / "progress").open("w") as stream:
        bare, recorded = Bare(setting), Recorded(setting, stream)
        timed = time_rounds(recorded, bare, rounds=ROUNDS)
    if not timed:
        return
    seconds, bare_seconds = timed
    assert fingerprint(bare.model) == fingerprint(recorded.training.model), "not the same training"
    start = perf_counter()
    Run.of(recorded.training, 0.0).row()
    after = perf_counter() - start
    found = paired_ratio(seconds, bare_seconds)
    total, plain = sum(seconds) + after, sum(bare_seconds)
    say(
        f"{clip}: {setting.iterations} iterations with every norm, {len(recorded.training.marks)} looks at the "
        f"reach and the closed loops took {total / plain:.3f}x a bare loop in total ({total:.2f} s and "
        f"{plain:.2f} s, bar {BAR}x); per round {found.ratio:.3f}x (99 %: {found.low:.3f} to {found.high:.3f})"
    )
