"""Which operations ran, how often and for how long, as torch's profiler saw one call.

Counted is what computes or copies: an operation that only calls others (`linear`, `lstm_cell`) is looked into, one that
only looks at memory in another way (`t`, `unsafe_chunk`) or gets some is left out.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from unrolled.speed.step import Step
from unrolled.speed.why.record import Launches, Operation

MICROSECONDS = 1e6  # which the profiler counts in
LOG_LEVEL = "KINETO_LOG_LEVEL"  # of a variable of the environment


def operations(steps: dict[str, Step]) -> tuple[tuple[Operation, ...], tuple[Launches, ...]]:
    """Of a call of each implementation, the most seconds first; on CUDA the kernels as well."""
    found: list[Operation] = []
    launches: list[Launches] = []
    for name, step in steps.items():
        step.reset()
        step()  # warm
        step.reset()
        events = _profiled(step)
        found += _summed(name, (each for each in events if each.cpu_parent is None))
        if step.input.is_cuda:
            kernels = [each.time_range for each in events if each.device_type.name == "CUDA"]
            covered = _covered([(each.start, each.end) for each in kernels])
            launches.append(Launches(name, len(kernels), covered / MICROSECONDS))
    return tuple(found), tuple(launches)


def _profiled(step: Step) -> list[Any]:
    """What happened in one call."""
    on_cuda = [ProfilerActivity.CUDA] if step.input.is_cuda else []
    with _quiet(), profile(activities=[ProfilerActivity.CPU, *on_cuda], acc_events=True) as profiler:
        step()
    return list(profiler.events())


@contextmanager
def _quiet() -> Iterator[None]:
    """Kineto, which the profiler is made of, writes when it starts and stops to standard error, unless told this."""
    before = os.environ.get(LOG_LEVEL)
    os.environ[LOG_LEVEL] = "99"
    try:
        yield
    finally:
        os.environ.pop(LOG_LEVEL)
        if before is not None:
            os.environ[LOG_LEVEL] = before


def _summed(implementation: str, events: Iterator[Any]) -> list[Operation]:
    counts: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    for event in _working(events):
        name = event.name.partition("::")[2]
        counts[name] += 1
        seconds[name] += event.cpu_time_total / MICROSECONDS
    return [
        Operation(implementation, name, counts[name], seconds[name])
        for name in sorted(counts, key=lambda name: -seconds[name])
    ]


def _working(events: Iterator[Any]) -> Iterator[Any]:
    """Operations that do something themselves; what they call belongs to them."""
    for event in events:
        namespace, _, name = event.name.partition("::")
        if namespace in ("aten", "mkldnn") and not _only_calls_others(namespace, name):
            if not _only_looks(namespace, name):
                yield event
        else:
            yield from _working(event.cpu_children)


@cache
def _overloads(namespace: str, name: str) -> tuple[Any, ...]:
    packet: Any = getattr(getattr(torch.ops, namespace), name, None)
    every = () if packet is None else (getattr(packet, overload) for overload in packet.overloads())
    return tuple(each for each in every if each.name() in _dispatched())


@cache
def _dispatched() -> frozenset[str]:
    """All operations of tensors: TorchScript has some of lists and numbers under the same names."""
    return frozenset(torch._C._dispatch_get_all_op_names())


@cache
def _only_calls_others(namespace: str, name: str) -> bool:
    """Whether it is made of other operations, for autograd too."""
    has_kernel: Any = torch._C._dispatch_has_kernel_for_dispatch_key
    found = _overloads(namespace, name)
    return not found or any(has_kernel(each.name(), "CompositeImplicitAutograd") for each in found)


@cache
def _only_looks(namespace: str, name: str) -> bool:
    """Whether it gives a view, or memory that nothing is written into."""
    if name.startswith(("empty", "new_empty", "resize", "set_")):
        return True
    returned = [each for overload in _overloads(namespace, name) for each in overload._schema.returns]
    return any(each.alias_info is not None and not each.alias_info.is_write for each in returned)


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """The length of the union of spans."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
