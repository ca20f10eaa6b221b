"""One forward pass of an unmodified model, taken apart at its recurrent calls, for the gradient to go back through.

Whatever a recurrent call gives is handed on as leaves of autograd's graph. A call of a fused module is carried out
layer by layer, and pulled back through by our own recurrences. A cell runs as it is; the steps of a block of calls,
each from the very state that the one before gave, stay in one graph of their own, which autograd goes back through at
once. Blocks are short enough for that to stay within the dtype's range.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from unrolled.cells.own import output_and_state, parts_of
from unrolled.rollout.arguments import tensors_in
from unrolled.rollout.capture import Capture
from unrolled.rollout.fused import FusedCall, run_fused
from unrolled.rollout.layout import Layout
from unrolled.rollout.nonfinite import check_states
from unrolled.rollout.runs import Parts, Run, check_real, given_of, hides_c, lstm_step, made
from unrolled.rollout.targets import Target, check_called


@dataclass(eq=False)
class Block:
    """Consecutive calls of a cell in one graph.

    For each call, `sources` are the tensors that it gave, in that graph, those of its state first, and `leaves` the
    same as its caller has them; `parts`: how many are of the state. `places`: of all states in the graph. `upstream`:
    the leaves of other calls that its inputs were made of.
    """

    sources: list[Parts] = field(default_factory=list)
    leaves: list[Parts] = field(default_factory=list)
    parts: int = 0
    places: list[GradientEdge] = field(default_factory=list)
    upstream: dict[Tensor, None] = field(default_factory=dict)


@dataclass(eq=False)
class RecordedRun(Run):
    """A run, with every state that it went through, and the place in autograd's graph of each of its parts."""

    values: list[Parts] = field(default_factory=list)
    places: list[tuple[GradientEdge | None, ...]] = field(default_factory=list)
    block: Block | None = None  # that the last call is in
    inside: dict[int, Tensor] = field(
        default_factory=dict
    )  # id of a handed tensor -> the same in the block's graph


Event = FusedCall | Block


@dataclass
class Rollout:
    """What happened in one forward pass, in order, and what the model returned.

    `steps_per_block`: the most steps of a cell in one block.
    """

    steps_per_block: int
    calls: list[FusedCall | RecordedRun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    output: Any = None

    def __post_init__(self) -> None:
        self._runs: dict[Target, RecordedRun] = {}
        self._counts: Counter[Target] = Counter()
        # Events by epochs. Those of an epoch may depend on each other in any order, but not in a circle; all depend
        # on earlier epochs alone.
        self._epochs: list[dict[Event, set[Event]]] = [{}]
        self._made_by: dict[Tensor, Event] = {}  # leaf -> the event that gave it

    @classmethod
    def of(cls, call: Callable[[], Any], targets: Sequence[Target], steps_per_block: int) -> Rollout:
        """Make the call once, in which a model runs."""
        rollout = cls(steps_per_block)
        with Capture(targets, rollout._caught), torch.enable_grad():
            rollout.output = call()
        check_called(targets, [call.target for call in rollout.calls])
        for run in rollout.runs:
            for parts in zip(*run.values, strict=True):
                states = torch.stack([part.detach() for part in parts])
                check_states(states, run.target.name, run.target.layer, run.target.direction)
            rollout.notes += [
                f"{run.target.name}: the state is detached before step {step}, so no gradient goes back beyond it"
                for step in run.detached
            ]
        return rollout

    @property
    def runs(self) -> list[RecordedRun]:
        """Those of cells."""
        return [call for call in self.calls if isinstance(call, RecordedRun)]

    @property
    def leaves(self) -> list[Tensor]:
        """All that results were handed on as."""
        return list(self._made_by)

    def backwards(self) -> Iterator[Event]:
        """Every event after all those that depend on it."""
        for epoch in reversed(self._epochs):
            done: set[Event] = set()
            consumers: dict[Event, list[Event]] = {event: [] for event in epoch}
            for event, producers in epoch.items():
                for producer in producers:
                    consumers[producer].append(event)
            for first in reversed(epoch):
                waiting = [first]
                while waiting:
                    event = waiting[-1]
                    ahead = [one for one in consumers[event] if one not in done]
                    if ahead:
                        waiting += ahead
                        continue
                    waiting.pop()
                    if event not in done:
                        done.add(event)
                        yield event

    @property
    def layout(self) -> Layout:
        """How the last call laid out its steps and samples, which is how the model's output is taken to be."""
        last = self.calls[-1]
        if isinstance(last, FusedCall):
            return last.layout
        state, shape = last.values[0][0], getattr(self.output, "shape", ())
        batched = state.dim() > 1
        batch_first = batched and len(shape) == 3 and shape[:2] == (len(state), last.steps) != shape[1::-1]
        return Layout(batch_first, batched, None, None)

    def _caught(
        self, target: Target, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return (self._fused if target.fused else self._cell)(target, call, args, kwargs)

    def _fused(
        self, target: Target, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        found, result = run_fused(target, self._counts[target], call, args, kwargs)
        self._counts[target] += 1
        self.calls.append(found)
        self._epochs[-1][found] = set()
        self._depends(found, self._leaves_behind(found.sources))
        self._made_by.update(dict.fromkeys(found.leaves, found))
        return result

    def _cell(
        self, target: Target, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        given = given_of(target, args, kwargs)
        before = () if given is None else parts_of(given, f"state of {target.name!r}")
        run = self._runs.get(target)
        if run is None or not run.goes_on(before):
            run = self._runs[target] = RecordedRun(target, self._counts[target])
            self._counts[target] += 1
            self.calls.append(run)
        if torch.is_grad_enabled():
            args, kwargs = self._in_block(run, before, args, kwargs)
        result = made(target, _decomposed(target, call, args), args, kwargs)
        state = parts_of(output_and_state(result, given, repr(target.name))[1])
        check_real(target.name, state)
        run.steps, run.handed = run.steps + 1, state
        run.values.append(state)
        return self._handed(run, state, result) if torch.is_grad_enabled() else result

    def _in_block(
        self, run: RecordedRun, given: Parts, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call as its block knows them: a state that was handed on as it is stays in the graph."""
        tensors = [tensor for tensor in tensors_in([args, kwargs] if kwargs else args) if tensor.requires_grad]
        if self._is_open(run) and run.is_handed(given):
            others = [tensor for tensor in tensors if id(tensor) not in run.inside]
            leaves = self._leaves_behind(others)
            if run.block is not None and self._depends(run.block, leaves):
                run.block.upstream.update(leaves)
                return _replaced(args, run.inside), _replaced(kwargs, run.inside) if kwargs else kwargs
        run.block = Block(upstream=self._leaves_behind(tensors))
        self._epochs[-1][run.block] = set()
        self._depends(run.block, run.block.upstream)
        if not tensors and not any(p.requires_grad for p in run.target.module.parameters()):
            # Nothing is differentiated, and yet there has to be a graph.
            return _as_leaves(args), _as_leaves(kwargs)
        return args, kwargs

    def _is_open(self, run: RecordedRun) -> bool:
        """Whether one more call may go into the block of the last one."""
        return run.block in self._epochs[-1] and len(run.block.sources) < self.steps_per_block

    def _handed(self, run: RecordedRun, state: Parts, result: Any) -> Any:
        """The result of a call, with the tensors in it handed on as leaves."""
        places = tuple(_place(part) if part.requires_grad else None for part in state)
        run.places.append(places)
        given = state if result is state or result is state[0] else (*state, *tensors_in(result))
        sources = {id(tensor): tensor for tensor in given if tensor.requires_grad}
        leaves = {name: source.detach().requires_grad_() for name, source in sources.items()}
        # Clones, because a model may write into what it was given and may not write into a leaf.
        handed = {name: leaf.clone() for name, leaf in leaves.items()}
        if run.block is not None:
            run.block.parts = len({id(part) for part in state if part.requires_grad})
            run.block.sources.append(tuple(sources.values()))
            run.block.leaves.append(tuple(leaves.values()))
            run.block.places += [place for place in places if place is not None]
            self._made_by.update(dict.fromkeys(leaves.values(), run.block))
        run.handed = tuple(handed.get(id(part), part) for part in state)
        run.inside = {id(tensor): sources[name] for name, tensor in handed.items()}
        return _replaced(result, handed)

    def _depends(self, event: Event, leaves: dict[Tensor, None]) -> bool:
        """Note what an event depends on. Where that would close a circle: begin another epoch, and give False."""
        if not leaves:
            return True
        epoch = self._epochs[-1]
        for producer in {self._made_by[leaf]: None for leaf in leaves}:
            if producer in epoch and producer not in epoch[event]:
                if self._reaches(producer, event):
                    self._epochs.append({})
                    return False
                epoch[event].add(producer)
        return True

    def _reaches(self, first: Event, wanted: Event) -> bool:
        """Whether an event depends on another, or is it, within this epoch."""
        epoch, seen, waiting = self._epochs[-1], {first}, [first]
        while waiting:
            event = waiting.pop()
            if event is wanted:
                return True
            fresh = epoch[event] - seen
            seen |= fresh
            waiting += fresh
        return False

    def _leaves_behind(self, tensors: Sequence[Tensor]) -> dict[Tensor, None]:
        """The leaves of recurrent calls that tensors were made of, found by walking the graph."""
        if not tensors:
            return {}
        found: dict[Tensor, None] = {t: None for t in tensors if t in self._made_by}
        nodes: list[Any] = [t.grad_fn for t in tensors if t.grad_fn is not None]
        seen = set(nodes)
        while nodes:
            node = nodes.pop()
            leaf = getattr(node, "variable", None)
            if leaf is not None and leaf in self._made_by:
                found[leaf] = None
            for before, _ in node.next_functions:
                if before is not None and before not in seen:
                    seen.add(before)
                    nodes.append(before)
        return found


def _decomposed(target: Target, call: Callable[..., Any], args: tuple[Any, ...]) -> Callable[..., Any]:
    """The call of a cell, by separate equations where one kernel would hide how h depends on c at the same step."""
    cell: Any = target.module
    return partial(lstm_step, cell) if hides_c(target, args[0] if args else None) else call


def _place(state: Tensor) -> GradientEdge:
    """Where a state is in the graph. As `get_gradient_edge`, but for what keeps the graph alive, which the run does."""
    node = state.grad_fn
    return get_gradient_edge(state) if node is None else GradientEdge(node, state.output_nr)


def _as_leaves(value: Any) -> Any:
    """Tensors of floats as leaves that are differentiated, in tuples and dicts too."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _as_leaves(part) for name, part in value.items()}
    return tuple(_as_leaves(part) for part in value) if type(value) is tuple else value


def _replaced(value: Any, tensors: dict[int, Tensor]) -> Any:
    """`value` with some of its tensors, given by their id, replaced."""
    if isinstance(value, Tensor):
        return tensors.get(id(value), value)
    if isinstance(value, dict):
        return {name: _replaced(part, tensors) for name, part in value.items()}
    if type(value) is tuple:
        return tuple([_replaced(part, tensors) for part in value])
    if isinstance(value, tuple | list):
        parts = [_replaced(part, tensors) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
