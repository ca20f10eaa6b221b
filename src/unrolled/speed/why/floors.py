"""Floors: what cannot be done in less time here, each measured on the spot beside the loop.

Of all steps, which a loop repeats. `dispatch` is the whole loop at H = B = I = 1, where nothing is left to compute: a
loop of n operations a step takes n times what calling one takes, at least. The others are what a step computes, by
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import torch
from torch import Tensor

from unrolled.cells import cell_named
from unrolled.implementations import Implementation, implement
from unrolled.networks.workload import Workload
from unrolled.speed.rounds import Runner, time_rounds
from unrolled.speed.step import Step
from unrolled.speed.why.record import Floor

ROUNDS = 9
# Planes (B, H) that a step reads or writes besides its gates: two states, and what comes before the activations.
PLANES = 4


class _Calls:
    """Calls of functions without arguments, each so many times, to their end."""

    def __init__(self, device: str) -> None:
        self.calls: list[tuple[int, Callable[[], object]]] = []
        self.on_cuda = device != "cpu"

    def reset(self) -> None:
        """Nothing is left from a call."""

    def __call__(self) -> None:
        """One after the other."""
        with torch.inference_mode():
            for times, call in self.calls:
                for _ in range(times):
                    call()
        if self.on_cuda:
            torch.cuda.synchronize()


def recurrent_products(workload: Workload, phase: str, *, packed: bool = False) -> Runner:
    """In each step `(B, H) @ (H, G H)`; in training also those that give the gradients of state and weight.

    `packed`: by oneDNN, with weights that it has laid out as it likes.
    """
    found, batch = _Calls(workload.device), workload.batch_size
    multiply = _packed if packed else _plain
    for size in workload.hidden_sizes:
        rows = _rows(workload, size)
        h, weight = workload.random((batch, size), stream=3), workload.random((rows, size), stream=4)
        products = [multiply(h, weight.t())]
        if phase == "training":
            delta = workload.random((batch, rows), stream=5)
            products += [multiply(delta, weight), _plain(delta.t(), h)]
        found.calls += [(workload.seq_len * workload.directions, product) for product in products]
    return found


def input_projection(workload: Workload, phase: str) -> Runner:
    """Of all steps in one product a layer, `(T B, I) @ (I, G H)`; in training also those of the backward pass."""
    found, tokens = _Calls(workload.device), workload.tokens
    for width, size in zip(workload.layer_input_sizes, workload.hidden_sizes, strict=True):
        rows = _rows(workload, size)
        x, weight = workload.random((tokens, width), stream=6), workload.random((rows, width), stream=7)
        products = [_plain(x, weight.t())]
        if phase == "training":
            delta = workload.random((tokens, rows), stream=8)
            products += [_plain(delta, weight), _plain(delta.t(), x)]
        found.calls += [(workload.directions, product) for product in products]
    return found


def traffic(workload: Workload, phase: str) -> Runner:
    """In each step as many bytes are read and written as its weights, gates and states have; thrice in training."""
    found = _Calls(workload.device)
    for size in workload.hidden_sizes:
        rows = _rows(workload, size)
        numbers = rows * size + workload.batch_size * (2 * rows + PLANES * size)
        source = workload.random((max(numbers // 2, 1),), stream=9)
        times = workload.seq_len * workload.directions * (3 if phase == "training" else 1)
        found.calls.append((times, partial(torch.empty_like(source).copy_, source)))
    return found


def _rows(workload: Workload, hidden_size: int) -> int:
    return len(cell_named(workload.cell).gates) * hidden_size


def _plain(left: Tensor, right: Tensor) -> Callable[[], object]:
    return partial(torch.mm, left, right, out=left.new_empty(len(left), right.shape[1]))


def _packed(left: Tensor, right: Tensor) -> Callable[[], object]:
    weight = torch.ops.mkldnn._reorder_linear_weight(right.t().contiguous(), len(left))
    return partial(torch.ops.mkldnn._linear_pointwise, left, weight, None, "none", [], "")


def at_size_one(workload: Workload) -> Workload:
    """As many layers and steps, of one unit, one sample and one input."""
    sizes = (1,) * workload.layers if isinstance(workload.hidden_size, tuple) else 1
    return workload.replace(hidden_size=sizes, batch_size=1, input_size=1)


def runners(
    workload: Workload, phase: str, implementations: list[Implementation]
) -> Iterator[tuple[str, Runner]]:
    """Each floor by its name; that of dispatch for each implementation."""
    small = at_size_one(workload)
    for each in implementations:
        reference = small.reference()
        module = implement(each, reference)
        yield f"dispatch of {each.name}", Step(module, small.input(), small.target(), phase, reference)
    yield "recurrent products", recurrent_products(workload, phase)
    if workload.device == "cpu" and workload.dtype == "float32" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        yield "recurrent products, packed", recurrent_products(workload, phase, packed=True)
    yield "input projection", input_projection(workload, phase)
    yield "memory traffic", traffic(workload, phase)


def floors(workload: Workload, phase: str, implementations: list[Implementation]) -> tuple[Floor, ...]:
    """All of them, in rounds of all."""
    named = dict(runners(workload, phase, implementations))
    for runner in named.values():
        runner.reset()
        runner()  # warm
    rounds = time_rounds(list(named.values()), ROUNDS)
    return tuple(Floor(name, median(seconds)) for name, seconds in zip(named, rounds, strict=True))
