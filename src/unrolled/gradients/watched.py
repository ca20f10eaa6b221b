"""Calls as they come by in somebody else's training, and the gradients that arrive at what they gave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells.own import output_and_state, parts_of, paths_of
from unrolled.cells.weights import used
from unrolled.gradients.backward import pull_back_call
from unrolled.gradients.profile import Profile
from unrolled.plugins import first_line
from unrolled.rollout.fused import FusedCall, arguments_of, cast, module_of, read, replay
from unrolled.rollout.nonfinite import check_norms
from unrolled.rollout.runs import Run, given_of, hides_c
from unrolled.rollout.scaled import Scaled, log2, working_dtype
from unrolled.rollout.targets import Target

# By how much a replay with dropout may differ from what the module gave, relative to its largest entry: rounding and no
# more, as another mask differs by all of it.
SAME = 0.02

_order = count()

Receive = Callable[["WatchedCall"], None]


class WatchedCall(ABC):
    """One call, or one run of calls of a cell, that gradients come back to."""

    target: Target
    order: int
    problems: tuple[str, ...] = ()

    def _listen(self, tensor: Tensor, arrive: Callable[[Tensor], None], receive: Receive) -> None:
        """Have `arrive` called with each gradient that comes to a tensor; an error in it is a problem and no more."""

        def hook(cotangent: Tensor) -> None:
            try:
                arrive(cotangent)
            except Exception as error:  # the backward pass is not ours to stop
                self.problems = (f"a gradient in {self.target.name!r} could not be read: {first_line(error)}",)
            receive(self)

        tensor.register_hook(hook)  # type: ignore[no-untyped-call]

    @abstractmethod
    def profiles(self, number: int) -> tuple[list[Profile], list[str]]:
        """Those of the gradients that have arrived, as call `number` of the module, and what else is to be said."""

    @abstractmethod
    def forget(self) -> None:
        """Let go of the gradients that have arrived: another backward pass may come through."""


class WatchedFused(WatchedCall):
    """One call of a fused module."""

    def __init__(
        self,
        target: Target,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        before: Tensor | None,
        receive: Receive,
    ) -> None:
        self.target, self.order, self.random_state = target, next(_order), before
        self.sequence, self.hx = arguments_of(args, kwargs)
        self.weights = {name: weight.detach() for name, weight in used(module_of(target)).items()}
        self.training = target.module.training
        output, last = result
        self.output = output.data if isinstance(output, PackedSequence) else output
        results = [self.output, *(last if isinstance(last, tuple) else (last,))]
        self.cotangents: list[Tensor | None] = [None] * len(results)
        for position, tensor in enumerate(results):
            if tensor.requires_grad:
                self._listen(tensor, partial(self._arrive, position), receive)
        self.output = self.output.detach()

    def _arrive(self, position: int, cotangent: Tensor) -> None:
        self.cotangents[position] = cotangent.detach().clone()

    def forget(self) -> None:
        """Let go of the cotangents."""
        self.cotangents = [None] * len(self.cotangents)

    @torch.no_grad()
    def profiles(self, number: int) -> tuple[list[Profile], list[str]]:
        """Carry out the call again, and pull back through it what has arrived."""
        module = module_of(self.target)
        now, device = module.training, self.output.device.type
        with torch.autocast(device, enabled=False), torch.random.fork_rng(devices=[]):
            if self.random_state is not None:
                torch.set_rng_state(self.random_state)
            # Whatever autocast let it read.
            called_with = cast((self.sequence, self.hx), self.weights["weight_ih_l0"].dtype)
            layout, sources = read(self.target, *_detached(called_with))
            module.training = self.training
            try:
                layers, masks, results = replay(self.target, self.weights, layout, sources)
            finally:
                module.training = now
            call = FusedCall(self.target, number, layout, self.weights, layers, masks, sources, results)
            notes = self._differs(layout.outward(results[0])) if masks else []
            output, *last = self.cotangents
            if output is not None and layout.packed is not None:
                packed = layout.packed
                output = layout.inward(
                    PackedSequence(output, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
                )
            elif output is not None:
                output = layout.inward(output)
            dtype = working_dtype(results[0].dtype)
            states = [None if state is None else layout.state_inward(state) for state in last]
            found, _ = pull_back_call(
                call,
                None if output is None else Scaled.of(output.to(dtype), 2),
                tuple(None if state is None else Scaled.of(state.to(dtype), 2) for state in states),
                gradients=None,
                needs_input=False,
            )
        return found, [*notes, *self.problems]

    def _differs(self, output: Tensor | PackedSequence) -> list[str]:
        again = output.data if isinstance(output, PackedSequence) else output
        apart = float((again.double() - self.output.double()).abs().max())
        if apart <= SAME * max(float(self.output.abs().max()), 1e-30):
            return []
        return [
            f"the dropout masks of {self.target.name!r} could not be drawn again, so its layers below the last are "
            "shown under other masks"
        ]


def _detached(value: Any) -> Any:
    """Tensors, in tuples and packed sequences too, cut off from the graph."""
    if isinstance(value, PackedSequence):
        return PackedSequence(value.data.detach(), *value[1:])
    if isinstance(value, tuple | list):
        return tuple(_detached(part) for part in value)
    return value.detach() if isinstance(value, Tensor) else value


class WatchedRun(Run, WatchedCall):
    """Calls of a cell, each from the state that the one before gave."""

    def __init__(self, target: Target) -> None:
        super().__init__(target, 0)
        self.order = next(_order)
        self.norms: list[list[Tensor | None]] = []  # of the gradients that arrived, by step and part, (B,)
        self.hides_c = False

    @classmethod
    def going_on(
        cls, run: WatchedRun | None, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> WatchedRun:
        """The run that a call with these arguments belongs to: that of the call before, or a new one."""
        given = given_of(target, args, kwargs)
        return run if run is not None and given is not None and run.goes_on(parts_of(given)) else cls(target)

    def step(self, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any], receive: Receive) -> None:
        """Listen to what one more call gave."""
        given = given_of(self.target, args, kwargs)
        state = parts_of(output_and_state(result, given, repr(self.target.name))[1])
        self.hides_c = hides_c(self.target, state[0])
        self.steps, self.handed = self.steps + 1, state
        norms: list[Tensor | None] = [None] * len(state)
        self.norms.append(norms)
        self.batch = state[0].shape[0] if state[0].dim() > 1 else 1
        for part, tensor in enumerate(state):
            if tensor.requires_grad:
                self._listen(tensor, partial(_keep_norms, norms, part), receive)

    def forget(self) -> None:
        """Let go of the norms."""
        for norms in self.norms:
            norms[:] = [None] * len(norms)

    def profiles(self, number: int) -> tuple[list[Profile], list[str]]:
        """From the norms that have arrived."""
        target = self.target
        labels = {"module": target.name, "call": number, "layer": target.layer, "direction": target.direction}
        found = []
        for part, path in enumerate(paths_of(len(self.norms[0]))):
            arrived = [norms[part] for norms in self.norms]
            like = next((norm for norm in arrived if norm is not None), None)
            if like is not None:
                rows = torch.stack([torch.zeros_like(like) if norm is None else norm for norm in arrived])
                check_norms(rows, target.name)
                found.append(
                    Profile.of({**labels, "path": path}, log2(rows, torch.zeros_like(rows, dtype=torch.int64)))
                )
        notes = [f"{target.name}: the state is detached before step {step}" for step in self.detached]
        if self.hides_c:
            notes.append(
                f"{target.name}: path c lacks what flows through h of the same step, as one kernel computes both; see "
                "unrolled.gradient_flow for all of it"
            )
        return found, [*notes, *self.problems]


def _keep_norms(norms: list[Tensor | None], part: int, cotangent: Tensor) -> None:
    """Put the norms `(B,)` of a gradient that arrived among those of its step."""
    real = torch.view_as_real(cotangent.detach()) if cotangent.is_complex() else cotangent.detach()
    rows = real.flatten(1) if cotangent.dim() > 1 else real.reshape(1, -1)
    norms[part] = torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)
