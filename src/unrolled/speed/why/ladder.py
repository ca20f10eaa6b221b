"""The ladder from a loop of cells to the fused module: on each rung one thing is changed, all in the same rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unrolled.implementations import Implementation, load
from unrolled.networks.workload import Workload

if TYPE_CHECKING:
    from unrolled.speed.result import Result
    from unrolled.speed.statistics import Interval

CALLS, HOISTED, IN_CPP, ONEDNN = (
    "each operation called from Python",
    "input projection of all steps at once",
    "the loop in C++",
    "one kernel of oneDNN, with packed weights",
)


@dataclass(frozen=True)
class Change:
    """`after` is `before` with one thing changed, which `what` names; `on_ladder` where it leads on to `fused`."""

    before: str
    after: str
    what: str
    on_ladder: bool = True


def changes(workload: Workload, phase: str, kernel: bool) -> tuple[Change, ...]:
    """The rungs for a workload, from `cells` to `fused`, then what changes one thing besides.

    `kernel`: on that CPU torch had one of oneDNN for all steps, see `has_kernel`. Else it is a loop in C++ there; on
    CUDA cuDNN has one.
    """
    rungs = [Change("cells", "written_out", CALLS), Change("written_out", "projected", HOISTED)]
    if workload.device != "cpu":
        rungs.append(Change("projected", "fused", "all steps in kernels of cuDNN"))
    elif kernel:
        rungs += [Change("projected", "in_cpp", IN_CPP), Change("in_cpp", "fused", ONEDNN)]
    else:
        rungs.append(Change("projected", "fused", IN_CPP))
    return (*rungs, *_asides(workload, phase))


def _asides(workload: Workload, phase: str) -> list[Change]:
    """What else is worth knowing of: not on the way from `cells` to `fused`."""
    found = []
    if workload.cell in ("gru", "lstm"):
        found.append(Change("written_out", "gate_by_gate", "a product for each gate, not one for all", False))
    if workload.cell != "gru":
        found.append(Change("projected", "folded", "both biases added before the loop", False))
    if workload.device == "cpu":
        found.append(Change("fused", "flushed", "denormal numbers flushed to 0", False))
    if phase == "training":
        found.append(Change("fused", "bptt", "backward by blocks of steps, without a graph", False))
    else:
        found.append(Change("cells", "recorded", "autograd records every operation", False))
        if workload.device == "cpu":
            found.append(Change("projected", "inference", "operations in place, fewer of them", False))
    return found


def has_kernel(workload: Workload) -> bool:
    """Whether torch has one of oneDNN for all steps here: of an LSTM, in float32, bfloat16 or float16."""
    import torch

    onednn = torch.backends.mkldnn
    usable = workload.cell == "lstm" and workload.device == "cpu" and workload.dtype != "float64"
    return bool(usable and onednn.is_available() and onednn.enabled)  # type: ignore[no-untyped-call]


def contenders(workload: Workload, phase: str) -> list[Implementation]:
    """What is timed for a ladder, the reference first."""
    steps = changes(workload, phase, has_kernel(workload))
    return [load(name) for name in dict.fromkeys(["fused", "cells", *(each.after for each in steps)])]


@dataclass(frozen=True)
class Rung:
    """A change and what it does: the time after it over the time before it, and the seconds of both."""

    change: Change
    ratio: Interval
    before_s: float
    after_s: float


def rungs(results: Sequence[Result]) -> tuple[Rung, ...]:
    """Of the results of a race, those of `changes` whose both sides have a time.

    Where the loop in C++ took part it was another one than the fused module.
    """
    first = results[0]
    kernel = any(result.implementation == "in_cpp" for result in results)
    found = {result.implementation: result for result in results if result.timed}
    return tuple(
        Rung(
            each,
            found[each.after].against(found[each.before]),
            found[each.before].shared_s,
            found[each.after].shared_s,
        )
        for each in changes(first.workload, first.phase, kernel)
        if each.before in found and each.after in found
    )
