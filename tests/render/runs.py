"""Benchmark runs of known times, made and not measured."""

import math

import numpy as np

from unrolled import Environment, Workload
from unrolled.speed.load import Load
from unrolled.speed.result import Result
from unrolled.speed.run import Run

MACHINE = Environment(
    cpu="a CPU", cores=2, threads=2, os="Linux 6", python="3.12.1", torch="2.13.0", onednn="3.12.0", mkl=None,
    cuda=None, cudnn=None, gpu=None, matmul_tf32=False, cudnn_tf32=True, matmul_precision="highest",
    load_average=0.1, git_commit=None,
)  # fmt: skip
BUSY = Load(seconds=100.0, cores=2, own=0.9, others=1.9, stolen=0.0, preempted=900, load_average=19.0)
PASSES, ROUNDS = 5, 5
LEVELS = (0.02, -0.01, 0.0, 0.03, -0.04)  # of the machine in each pass, in log time


def race(
    ratios,
    workload=None,
    phase="forward",
    *,
    base=0.010,
    spread=0.004,
    passes=PASSES,
    wide=(),
    wrong=(),
    **fields,
):
    """Results of one race: `ratios` by name, in rounds that spread a little, and for those in `wide` by a factor of 30.

    Every pass has the same rounds at another level of the machine, so that medians and their differences are exact.
    """
    workload = workload or Workload()
    rounds = np.tile([0.0, spread, -spread, 2 * spread, -2 * spread], passes)
    level = np.repeat(np.resize(LEVELS, passes), ROUNDS)
    reference = base * np.exp(level + rounds)
    common = {
        "workload": workload, "phase": phase, "threads": 2, "passes": (ROUNDS,) * passes, "equivalence_error": 1e-16,
        "saved_bytes": 1000 if phase == "training" else 0,
        "spent_s": {"check": 0.1, "warm_up": 0.1, "memory": 0.0},
    } | fields  # fmt: skip
    made = []
    for name, ratio in ratios.items():
        if name in wrong:
            status = {"status": "wrong", "reason": "output differs by 0.5"}
            made.append(
                Result(workload=workload, phase=phase, threads=common["threads"], implementation=name, **status)
            )
            continue
        noise = (
            np.repeat(math.log(30) * np.resize([1, -1, 0, 0.5, -0.5], passes), ROUNDS) if name in wide else 0.0
        )
        seconds = tuple(map(float, ratio * reference * np.exp(noise + rounds[::-1] - rounds)))
        if name == "fused":
            made.append(
                Result(
                    implementation=name,
                    seconds=seconds,
                    reference_seconds=tuple(map(float, reference)),
                    **common,
                )
            )
        else:
            twice = tuple(map(float, np.repeat(reference, 2)))
            more = {"recheck_error": 0.1} | common
            made.append(Result(implementation=name, seconds=seconds, reference_seconds=twice, **more))
    return made


def run(results, during=None):
    return Run(MACHINE, "2026-01-01T00:00:00+00:00", tuple(results), {}, None, during)
