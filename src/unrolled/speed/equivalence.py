"""Is it the same work? Outputs, final states and every gradient against an oracle, before any clock is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.implementations import Implementation, implement
from unrolled.networks.workload import Workload
from unrolled.speed.explicit import explicit
from unrolled.speed.step import same_draws
from unrolled.torch_settings import settings_kept

Call = Callable[..., tuple[Tensor, Any]]
# Everything a call computes, by name: "output", "final state 0", "gradient of weight_hh_l0", ...
Quantities = dict[str, Tensor | None]

# Largest error, relative to the largest entry of the true tensor, that rounding in float64 explains.
FLOAT64_TOLERANCE = 1e-9
# The sequences of a batch do not know of each other; the whole batch is compared in the dtype that is timed.
CHECKED_BATCH = 16
# Steps at which an implementation that compiles is checked in float64; as timed, it is checked at full length.
COMPILED_STEPS = 6


@dataclass(frozen=True)
class Equivalence:
    """The largest error found, as a share of the largest entry of the true tensor, and where it was."""

    error: float
    where: str
    tolerance: float
    detail: str = ""

    @classmethod
    def exact(cls) -> Equivalence:
        """Nothing differs."""
        return cls(0.0, "nothing", 0.0)

    @property
    def equal(self) -> bool:
        """Whether the error is one that rounding explains; NaN is not."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"largest error {self.error:.1e} in {self.where}{detail}, allowed {self.tolerance:.0e}"


def check_equivalence(workload: Workload, implementation: Implementation) -> Equivalence:
    """Compare `implementation` with the explicit recurrence in float64, for up to `CHECKED_BATCH` sequences.

    The initial state is given, and random: outputs, final states and every gradient must agree.
    """
    workload = workload.replace(dtype="float64", batch_size=min(workload.batch_size, CHECKED_BATCH))
    if implementation.uncompiled is not None:  # compiling takes time in proportion to the steps
        workload = workload.replace(seq_len=min(workload.seq_len, COMPILED_STEPS))
    return _check(workload, implementation)


@lru_cache(maxsize=64)  # all phases of a workload ask the same, and all large batches
def _check(workload: Workload, implementation: Implementation) -> Equivalence:
    reference = workload.reference()
    with settings_kept():
        module = implement(implementation, reference)
    return compare(_oracle(workload), _quantities(module, reference, workload), FLOAT64_TOLERANCE)


def compare(expected: Quantities, found: Quantities, tolerance: float) -> Equivalence:
    """The worst of all `expected` quantities; a missing one, or one of another shape, is infinitely wrong."""
    return max((_compare_one(n, expected[n], found.get(n), tolerance) for n in expected), key=_badness)


def _compare_one(name: str, expected: Tensor | None, found: Tensor | None, tolerance: float) -> Equivalence:
    if expected is None or found is None:
        missing = "nothing came; are the reference's own parameters used?" if expected is not None else ""
        return Equivalence(0.0 if expected is found else float("inf"), name, tolerance, missing)
    if expected.shape != found.shape:
        shapes = f"shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
        return Equivalence(float("inf"), name, tolerance, shapes)
    scale = max(float(expected.abs().max()), torch.finfo(expected.dtype).tiny)
    return Equivalence(float((found.to(expected) - expected).abs().max()) / scale, name, tolerance)


def _badness(result: Equivalence) -> float:
    return result.error if result.error == result.error else float("inf")


@lru_cache(maxsize=1)  # the implementations of one workload are raced one after the other
def _oracle(workload: Workload) -> Quantities:
    reference = workload.reference()
    return _quantities(lambda input, hx: explicit(reference, input, hx), reference, workload)


def _quantities(call: Call, reference: nn.Module, workload: Workload) -> Quantities:
    """Output, final states and all gradients of one call from a random initial state, which draws from one seed."""
    input = workload.input().requires_grad_()
    state = workload.random_state(reference, input[:1].detach())
    for part in leaves(state):
        part.requires_grad_(part.is_floating_point())
    reference.zero_grad(set_to_none=True)
    with settings_kept(), same_draws(workload.seed):
        output, final = call(input, state)
    torch.autograd.backward(*_cotangents(output, final))
    finals = {f"final state {k}": part.detach() for k, part in enumerate(leaves(final))}
    initials = {f"gradient of initial state {k}": part.grad for k, part in enumerate(leaves(state))}
    gradients = {f"gradient of {name}": p.grad for name, p in reference.named_parameters()}
    return {"output": output.detach(), **finals, "gradient of input": input.grad, **initials, **gradients}


def _cotangents(output: Tensor, final: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and states that can be differentiated, and a fixed random cotangent for each."""
    tensors = [part for part in (output, *leaves(final)) if part.requires_grad]
    generator = torch.Generator().manual_seed(7)
    cotangents = [torch.randn(part.shape, generator=generator, dtype=torch.float64) for part in tensors]
    return tensors, [c.to(part) for c, part in zip(cotangents, tensors, strict=True)]


def leaves(state: Any) -> Iterator[Tensor]:
    """The tensors of a state, however nested: `h_n`, `(h_n, c_n)`, or one of these per layer."""
    if isinstance(state, Tensor):
        yield state
    elif state is not None:
        for part in state:
            yield from leaves(part)
