"""The calls of recurrent modules and cells in one forward pass, to be followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from unrolled.cells.build import fused_of
from unrolled.cells.own import output_and_state, parts_of
from unrolled.cells.weights import read as read_weights
from unrolled.cells.weights import used
from unrolled.errors import InvalidTypeError
from unrolled.observed.call import ObservedCall, call_of, detached
from unrolled.observed.facts import Facts
from unrolled.observed.run import ObservedRun, batched, check_run
from unrolled.observed.trajectory import Trajectory
from unrolled.observed.weights import check_weights
from unrolled.rollout.arguments import Arguments
from unrolled.rollout.capture import Capture
from unrolled.rollout.runs import given_of, made
from unrolled.rollout.targets import STEPPED, Cells, Target, check_called, targets_of


class Observed(Protocol):
    """One call of a module, or one run of calls of a cell."""

    @property
    def name(self) -> str:
        """Of the module."""

    @property
    def steps(self) -> int:
        """T."""

    @property
    def batch(self) -> int:
        """B."""

    @property
    def count(self) -> int:
        """The number of trajectories."""

    @property
    def widest(self) -> int:
        """The size of the largest system."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What has no spectrum, and why."""

    def facts(self) -> Facts:
        """Sizes, under `torch.nn`'s names."""

    def split(self, numbers: int, at_most: int) -> list[Any]:
        """The same by groups of samples, so that `numbers` per sample make `at_most` per group."""

    def trajectories(self) -> Iterator[Trajectory]:
        """All that there is to follow."""


@torch.no_grad()
def observe(model: nn.Module, inputs: Any, state: Any, cells: Cells = ()) -> list[Observed]:
    """The calls that a forward pass of `model` makes, which it leaves its marks on (see `preserving`).

    Raises for what cannot be run, or followed.
    """
    targets = targets_of(model, cells)
    if isinstance(model, nn.RNNBase) and targets[0].fused:  # no need to run it, nor to hold its output
        given = inputs if type(inputs) is tuple else (inputs,)
        arguments = (*given, *(() if state is None else (state,)))
        if not 1 <= len(arguments) <= 2:
            raise InvalidTypeError(
                f"inputs: expected a sequence, or a sequence and a state, got {len(arguments)} arguments "
                "with the state; see lyapunov_spectrum"
            )
        read_weights(model)
        return [call_of(targets[0], 0, arguments, {})]
    observer = _Observer()
    with Capture(targets, observer.see):
        Arguments.of(model, inputs, state)()
    check_called(targets, [one.target for one in observer.observed])
    return observer.found()


class _Observer:
    """Looks on while a model runs, and sorts its calls."""

    def __init__(self) -> None:
        self.observed: list[ObservedCall | ObservedRun] = []
        self.counts: Counter[Target] = Counter()
        self.runs: dict[Target, ObservedRun] = {}
        self.finals: dict[Target, tuple[Tensor, ...]] = {}

    def see(
        self, target: Target, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make a call and keep what it was made with."""
        before = torch.get_rng_state()
        found = call_of(target, self.counts[target], args, kwargs) if target.fused else None
        torch.set_rng_state(before)
        result = call(*args, **kwargs) if target.fused else made(target, call, args, kwargs)
        if found is None:
            self._step(target, call, args, kwargs, result, before)
            return result
        # Only now, as a parametrisation may have made others for the call than those of before.
        found = replace(found, weights=detached(used(found.module)))
        if not self._joined(found):
            self.observed.append(found)
            self.counts[target] += 1
        self.finals[target] = tuple(part.detach() for part in parts_of(result[1]))
        return result

    def _joined(self, call: ObservedCall) -> bool:
        """Whether a single step of a module goes on from the state of the step before; if so, they are one call."""
        last = next((one for one in reversed(self.observed) if one.target is call.target), None)
        finals = self.finals.get(call.target)
        if (
            not isinstance(last, ObservedCall)
            or finals is None
            or call.steps > 1
            or self.counts[call.target] == 0
        ):
            return False
        same = all(
            old.numel() == new.numel() and torch.equal(old.reshape(new.shape), new)
            for old, new in zip(finals, call.states, strict=True)
        )
        if same and last.x.shape[1:] == call.x.shape[1:]:
            # Kept as a list of steps until the end would be faster; loops of fused modules are short.
            joined = replace(
                last, x=torch.cat([last.x, call.x]), masks=tuple(map(_cat, last.masks, call.masks))
            )
            self.observed[self.observed.index(last)] = joined
        return same

    def _step(
        self,
        target: Target,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        random_state: Tensor,
    ) -> None:
        given = given_of(target, args, kwargs)
        before = () if given is None else tuple(part.detach() for part in parts_of(given))
        state = output_and_state(result, given, repr(target.name))[1]
        after = tuple(part.detach() for part in parts_of(state))
        run = self.runs.get(target)
        if run is None or not run.goes_on(before):
            run = self.runs[target] = ObservedRun(target, self.counts[target], single=isinstance(state, Tensor))
            self.counts[target] += 1
            self.observed.append(run)
            # A first state that the cell makes up itself is taken for zeros, as torch's cells have it.
            run.states.append(before or tuple(torch.zeros_like(part) for part in after))
        run.steps, run.handed = run.steps + 1, after
        run.calls.append((call, args, kwargs))
        run.states.append(after)
        run.random_states.append(random_state)

    def found(self) -> list[Observed]:
        """All of it. Raises where a state was changed on its way."""
        found: list[Observed] = []
        for one in self.observed:
            if isinstance(one, ObservedRun):
                check_run(one)
                found.append(_as_fused(one) if _has_plain_weights(one.target.module) else batched(one))
            else:
                found.append(one)
        return found


def _has_plain_weights(cell: nn.Module) -> bool:
    """Whether this is a cell of torch's own that works with its own parameters, not with what is made of them."""
    return type(cell) in STEPPED and all(
        isinstance(w, nn.Parameter) for w in cell._parameters.values() if w is not None
    )


def _as_fused(run: ObservedRun) -> ObservedCall:
    """A run of one of torch's cells as the call of a fused module with its weights."""
    cell: Any = run.target.module
    x = torch.stack([(args[0] if args else kwargs["input"]).detach() for _, args, kwargs in run.calls])
    states = run.states[0]
    if x.dim() == 2:
        x, states = x.unsqueeze(1), tuple(part.unsqueeze(0) for part in states)
    module = fused_of(cell)
    weights = detached(read_weights(module))
    check_weights(run.name, module, weights)
    dtype = weights["weight_ih_l0"].dtype
    states = tuple(part.unsqueeze(0).to(dtype) for part in states)
    return ObservedCall(run.target, run.number, module, weights, x.to(dtype), states)


def _cat(one: Tensor, other: Tensor) -> Tensor:
    return torch.cat([one, other])
