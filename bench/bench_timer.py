"""Does the median that a race stores agree with `torch.utils.benchmark.Timer` on the same step?

pytest bench/bench_timer.py --benchmark-only
"""

import pytest
import torch
from torch.utils.benchmark import Timer

from unrolled.networks.workload import Workload
from unrolled.render import text
from unrolled.speed.grid import PHASES
from unrolled.speed.pairs import PairedRounds
from unrolled.speed.statistics import paired_ratio
from unrolled.speed.step import Step

ROUNDS = 101


class BesideTorchTimer(PairedRounds):
    """Rounds of one step, timed by pytest-benchmark and by torch's `Timer` in turn."""

    def time_reference(self):
        """One call by torch's own stopwatch; the reset takes microseconds and is inside it."""
        timer = Timer(
            "reset(); step()",
            globals={"reset": self.reference.reset, "step": self.reference},
            num_threads=torch.get_num_threads(),
        )
        self.reference_seconds.append(timer.timeit(1).raw_times[0])


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def bench_timer(cell, phase, run_pairs, say):
    """The fused module at the default sizes."""
    workload = Workload(cell=cell)
    module, input, target = workload.reference(), workload.input(), workload.target()
    pairs = BesideTorchTimer(*(Step(module, input, target, phase) for _ in range(2)), ROUNDS)
    seconds = run_pairs(pairs)
    if seconds:
        found = paired_ratio(seconds, pairs.reference_seconds)
        say(
            f"{cell} {phase}: {found.ratio - 1:+.1%} against torch.utils.benchmark.Timer "
            f"(99 %: {found.low - 1:+.1%} to {found.high - 1:+.1%}), median "
            f"{text.seconds(sorted(seconds)[ROUNDS // 2])}, its own "
            f"{text.seconds(sorted(pairs.reference_seconds)[ROUNDS // 2])}"
        )
