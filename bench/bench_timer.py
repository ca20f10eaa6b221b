"""Does the median that a race stores agree with `torch.utils.benchmark.Timer` on the same step?

pytest bench/bench_timer.py --benchmark-only
"""

import pytest
import torch
from torch.utils.benchmark import Timer

from unrolled.networks.workload import Workload
from unrolled.render import text
from unrolled.speed.grid import PHASES
from unrolled.speed.statistics import paired_ratio
from unrolled.speed.step import Step

ROUNDS = 101


class ByTorch:
    """A step that is timed by torch's `Timer` besides; resetting takes microseconds and is inside of that."""

    def __init__(self, step):
        self.step, self.seconds = step, []
        self.reset = step.reset

    def __call__(self):
        """One call by torch's own stopwatch."""
        timer = Timer(
            "reset(); step()",
            globals={"reset": self.step.reset, "step": self.step},
            num_threads=torch.get_num_threads(),
        )
        self.seconds.append(timer.timeit(1).raw_times[0])


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def bench_timer(cell, phase, time_rounds, say):
    """The fused module at the default sizes."""
    workload = Workload(cell=cell)
    module, input, target = workload.reference(), workload.input(), workload.target()
    ours, torchs = Step(module, input, target, phase), ByTorch(Step(module, input, target, phase))
    if timed := time_rounds(ours, torchs, rounds=ROUNDS):
        found = paired_ratio(timed[0], torchs.seconds)
        say(
            f"{cell} {phase}: {found.ratio - 1:+.1%} against torch.utils.benchmark.Timer "
            f"(99 %: {found.low - 1:+.1%} to {found.high - 1:+.1%}), median "
            f"{text.seconds(sorted(timed[0])[ROUNDS // 2])}, its own "
            f"{text.seconds(sorted(torchs.seconds)[ROUNDS // 2])}"
        )
