"""Is it the same work? Outputs, final states and every gradient against an oracle, before any clock is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.implementations import Implementation, implement
from unrolled.networks.workload import Workload
from unrolled.speed.explicit import explicit
from unrolled.speed.step import Quantities, gradients, leaves, same_draws, train, values
from unrolled.torch_settings import settings_kept

Call = Callable[..., Any]
Tolerance = Callable[[str, Tensor], float]

# Largest error that rounding in float64 explains.
FLOAT64_TOLERANCE = 1e-9
# The sequences of a batch do not know of each other; the whole batch is compared in the dtype that is timed.
CHECKED_BATCH = 16
# Steps at which an implementation that compiles is checked in float64; as timed, it is checked at full length.
COMPILED_STEPS = 6


@dataclass(frozen=True)
class Equivalence:
    """The first quantity that is wrong, or the one with the largest error where all are right.

    An error is the norm of the difference over the norm of the true tensor: infinite where nothing came, or something
    of another shape, and NaN where nothing could be compared or what came is not finite. `words` say what is wrong
    where no number does.
    """

    error: float
    where: str
    tolerance: float
    words: str = ""

    @property
    def equal(self) -> bool:
        """Whether the error is one that rounding explains."""
        return not self.words and not self.error > self.tolerance

    def __str__(self) -> str:
        return self.words or f"error {self.error:.1e} in {self.where}, allowed {self.tolerance:.0e}"


def check_equivalence(
    workload: Workload, implementation: Implementation, phase: str = "training"
) -> Equivalence:
    """Compare `implementation` with the explicit recurrence in float64, for up to `CHECKED_BATCH` sequences.

    The initial state is given, and random. In `forward`, outputs and final states must agree under
    `torch.inference_mode`; in `training`, every gradient too. Weights and input are rounded to the workload's dtype.
    """
    workload = probed(workload)
    if implementation.uncompiled is not None:  # compiling takes time in proportion to the steps
        workload = workload.replace(seq_len=min(workload.seq_len, COMPILED_STEPS))
    return _check(workload, implementation, phase)


@lru_cache(maxsize=64)  # all large batches ask the same
def _check(workload: Workload, implementation: Implementation, phase: str) -> Equivalence:
    reference = train(workload.reference().double(), phase)
    with settings_kept():
        module = train(implement(implementation, reference), phase)
    found = called(module, reference, workload, phase, torch.float64)
    return compare(truth(workload, phase), found, lambda name, true: FLOAT64_TOLERANCE)


def probed(workload: Workload) -> Workload:
    """With as many sequences as are checked against the oracle."""
    return workload.replace(batch_size=min(workload.batch_size, CHECKED_BATCH))


def truth(workload: Workload, phase: str) -> Quantities:
    """What `called` has to give, by the explicit recurrence in float64; nothing is dropped out in `forward`."""
    if phase == "training":
        return _truth(workload)
    return {name: each for name, each in _truth(workload.replace(dropout=0.0)).items() if not is_gradient(name)}


@lru_cache(maxsize=2)  # the implementations of one workload are checked one after the other
def _truth(workload: Workload) -> Quantities:
    reference = workload.reference().double()
    call = lambda input, hx: explicit(reference, input, hx)  # noqa: E731
    return called(call, reference, workload, "training", torch.float64)


def called(
    call: Call, reference: nn.Module, workload: Workload, phase: str, dtype: torch.dtype, scale: float = 1.0
) -> Quantities:
    """All that one call in `dtype` from a random initial state gives; gradients of the parameters of `reference`.

    Input and state are those of the workload, whatever the dtype; cells that draw random numbers draw from one seed.
    In the backward pass all numbers are `scale` times those that are given back.
    """
    training = phase == "training"
    input = workload.input().to(dtype).requires_grad_(training)
    state = _as(workload.random_state(reference, workload.first_step(input.detach())), dtype)
    for part in leaves(state):
        part.requires_grad_(training and part.is_floating_point())
    reference.zero_grad(set_to_none=True)
    mode = nullcontext() if training else torch.inference_mode()
    with same_draws(workload.seed), mode, settings_kept():  # torch puts some back itself when the mode ends
        result = call(workload.as_called(input), state)
        if training:
            _backward(result, scale)
    found = values(result)
    if training:
        initials = {f"gradient of initial state {k}": part.grad for k, part in enumerate(leaves(state))}
        found |= {
            name: None if each is None else each.double() / scale
            for name, each in {"gradient of input": input.grad, **initials, **gradients(reference)}.items()
        }
        reference.zero_grad(set_to_none=True)
    return found


def _as(state: Any, dtype: torch.dtype) -> Any:
    """A state in another dtype, but for parts that count."""
    if isinstance(state, Tensor):
        return state.to(dtype) if state.is_floating_point() else state
    return tuple(_as(part, dtype) for part in state)


def _backward(result: Any, scale: float) -> None:
    """From outputs and states that can be differentiated, with a fixed random cotangent for each."""
    generator = torch.Generator().manual_seed(7)
    parts, cotangents = [], []
    for part in leaves(result):
        cotangent = scale * torch.randn(part.shape, generator=generator, dtype=torch.float64)
        if part.requires_grad:
            parts.append(part)
            cotangents.append(cotangent.to(part))
    if parts:
        torch.autograd.backward(parts, cotangents)


def compare(expected: Quantities, found: Quantities, tolerance: Tolerance) -> Equivalence:
    """The first of the `expected` quantities that is wrong, else the one with the largest error.

    Where `tolerance`, of its name and the true tensor, is infinite, it has to come in its shape, with any value.
    """
    parameters = [each for name, each in found.items() if is_of_parameter(name)]
    shares = any(each is not None for each in parameters)
    compared = []
    for name, true in expected.items():
        one = _compare_one(name, true, found.get(name), tolerance)
        if not one.equal and is_of_parameter(name) and not shares:
            return replace(one, words=f"does not share the reference's parameters ({one.words})")
        if not one.equal:
            return one
        compared.append(one)
    return largest(compared)


def largest(compared: list[Equivalence]) -> Equivalence:
    """The one with the largest error that is a number."""
    return max(compared, key=lambda one: -1 if math.isnan(one.error) else one.error)


def is_gradient(name: str) -> bool:
    """Whether a quantity is one of the backward pass."""
    return name.startswith("gradient of ")


def is_of_parameter(name: str) -> bool:
    """Whether it is one of those that the weights get."""
    return is_gradient(name) and not name.startswith(("gradient of input", "gradient of initial state"))


def _compare_one(name: str, true: Tensor | None, found: Tensor | None, tolerance: Tolerance) -> Equivalence:
    short = name.removeprefix("gradient of ")
    if true is None:
        is_none = found is None or not found.any()
        words = "" if is_none else f"a gradient came to {short}, to which the reference gives none"
        return Equivalence(0.0 if is_none else math.inf, name, 0.0, words)
    if found is None:
        words = f"no gradient came to {short}" if is_gradient(name) else f"no {name} came"
        return Equivalence(math.inf, name, 0.0, words)
    if true.shape != found.shape:
        words = f"{name} of shape {tuple(found.shape)}, expected {tuple(true.shape)}"
        return Equivalence(math.inf, name, 0.0, words)
    allowed = tolerance(name, true)
    if allowed == math.inf or not true.isfinite().all():
        return Equivalence(math.nan, name, allowed)
    error = relative_error(true, found)
    return Equivalence(error, name, allowed, "" if math.isfinite(error) else f"{name} is not finite")


def relative_error(true: Tensor, found: Tensor) -> float:
    """The norm of the difference over that of the true tensor."""
    true = true.double()
    difference = (found.to(true) - true).norm()
    return float(difference) / max(float(true.norm()), torch.finfo(torch.float64).tiny)
