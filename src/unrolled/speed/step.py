"""One timed call: a forward pass, or a forward pass, loss and backward pass; and all that it computed, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.checks import check_choice
from unrolled.implementations import Around
from unrolled.speed.grid import PHASES
from unrolled.torch_settings import settings_kept

# What a call computes: "output", "final state 0", "gradient of input", "gradient of weight_hh_l0", ...; None for what
# did not come.
Quantities = dict[str, Tensor | None]


@contextmanager
def same_draws(seed: int) -> Iterator[None]:
    """Cells may draw random numbers: whatever runs inside draws the same ones, and nobody else's are touched."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def draws(module: nn.Module, input: Tensor) -> bool:
    """Whether a call of `module` draws random numbers."""

    def states() -> list[Tensor]:
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(input.device)] if input.is_cuda else [])]

    with settings_kept(), torch.no_grad(), same_draws(0):
        before = states()
        module(input)
        return any(not torch.equal(a, b) for a, b in zip(before, states(), strict=True))


def numbers(of: Tensor | PackedSequence) -> Tensor:
    """A tensor itself, of packed sequences their data."""
    return of if isinstance(of, Tensor) else of.data


def leaves(state: Any) -> Iterator[Tensor]:
    """The tensors of a state, however nested: `h_n`, `(h_n, c_n)`, or one of these per layer; of packed ones, data."""
    if isinstance(state, Tensor | PackedSequence):
        yield numbers(state)
    elif isinstance(state, tuple | list):
        for part in state:
            yield from leaves(part)


def values(result: Any) -> Quantities:
    """Output and final states of what a call gave; no output where that is no pair."""
    output, final = result if isinstance(result, tuple | list) and len(result) == 2 else (None, None)
    finals = {f"final state {k}": part.detach() for k, part in enumerate(leaves(final))}
    found = numbers(output).detach() if isinstance(output, Tensor | PackedSequence) else None
    return {"output": found, **finals}


def gradients(parameters: nn.Module) -> Quantities:
    """What came to each parameter of a module, by its name."""
    return {f"gradient of {name}": p.grad for name, p in parameters.named_parameters()}


class Step:
    """Calling it runs `module` once in the given phase, to the end (CUDA is synchronised).

    `forward`: inference, under `torch.inference_mode`. `training`: forward, mean squared error against a
    fixed random target, backward to all parameters and to the input, as in the middle of a network.
    Two steps may share `input` and `target`, laid out as a workload has them; `reference` is the module that has the
    parameters, where `module` may not register them as its own. `around()` is entered around a call, on the clock.
    `reset()` belongs between two calls and outside the clock: it forgets gradients and results. Where `keeps` is set,
    the result of the next call is kept for `outcome()`.
    """

    def __init__(
        self,
        module: nn.Module,
        input: Tensor | PackedSequence,
        target: Tensor,
        phase: str,
        reference: nn.Module | None = None,
        around: Around | None = None,
    ) -> None:
        check_choice("phase", phase, PHASES)
        self.module, self.reference = train(module, phase), reference or module
        self.phase, self.around = phase, around
        self._given = input
        self.input = numbers(input).requires_grad_(phase == "training")
        self.target = target
        self.keeps = False
        self._result: Any = None
        self._events: Any = None
        if self.input.is_cuda:
            self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]

    def __call__(self) -> None:
        """Run once."""
        if self.around is None:
            self._call()
            return
        with self.around():
            self._call()

    def _call(self) -> None:
        if self._events is None:
            self._run()
            return
        start, end = self._events
        start.record()
        self._run()
        end.record()
        torch.cuda.synchronize()

    def _run(self) -> None:
        if self.phase == "forward":
            with torch.inference_mode():
                self._called()
        else:
            self.loss().backward()  # type: ignore[no-untyped-call]

    def _called(self) -> Any:
        result = self.module(self._given)
        if self.keeps:
            self._result = result
        return result

    def loss(self) -> Tensor:
        """The forward pass and the loss, with the graph for backward."""
        return F.mse_loss(numbers(self._called()[0]), self.target)

    def reset(self) -> None:
        """Forget the last call: its result, and gradients back to None."""
        self._result = None
        self.input.grad = None
        for module in (self.module, self.reference):
            for parameter in module.parameters():
                parameter.grad = None

    def event_s(self) -> float | None:
        """Seconds between the two CUDA events of the last call; None on the CPU."""
        if self._events is None:
            return None
        start, end = self._events
        return float(start.elapsed_time(end)) / 1e3

    def outcome(self) -> Quantities:
        """All that the last call computed, if it was kept: output, final states and, in training, all gradients."""
        found = values(self._result)
        if self.phase == "training":
            found |= {"gradient of input": self.input.grad, **gradients(self.reference)}
        return found


def train(module: nn.Module, phase: str) -> nn.Module:
    """The module in the mode of the phase, unless it has but one, as what `torch.export` gives."""
    with suppress(NotImplementedError):
        module.train(phase == "training")
    return module
