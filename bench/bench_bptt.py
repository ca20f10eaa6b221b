"""What does `bptt` hold in memory beside the fused module, in a training step?

pytest bench/bench_bptt.py --benchmark-only

Peaks of what the step allocates, gradients included, by torch's profiler, in a first call of its size. How long it
takes is a race: unrolled bench --implementation bptt --phase training
"""

from functools import partial

import pytest
from torch.profiler import ProfilerActivity, profile

from unrolled.implementations import bptt, implement, load
from unrolled.networks.workload import Workload

SIZES = [(50, 1), (50, 16), (50, 64), (200, 32)]  # T, B


def peak(step):
    """The most bytes that were held at once of those allocated within `step`."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = profiler.profiler.kineto_results.events()
    held = most = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def train(module, x):
    """Forward and backward, from no gradients."""
    module.zero_grad()
    module(x)[0].sum().backward()


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def bench_memory(cell, benchmark, say):
    """At most as much as the fused module's."""
    for length, batch in SIZES:
        workload = Workload(cell=cell, seq_len=length, batch_size=batch)
        fused, x = workload.reference(), workload.input()
        peaks = []
        for module in (fused, implement(load("bptt"), fused)):
            step = partial(train, module, x)
            step()
            bptt.forget()
            peaks.append(peak(step))
        say(
            f"{cell}, T = {length}, B = {batch}: bptt holds {peaks[1] / 2**20:.2f} MiB, the fused module "
            f"{peaks[0] / 2**20:.2f} MiB, ratio {peaks[1] / peaks[0]:.2f}; bar 1"
        )
    benchmark.pedantic(step, rounds=1)
