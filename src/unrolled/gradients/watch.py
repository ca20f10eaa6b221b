"""The gradient flow of a model while somebody else's loop trains it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from unrolled.errors import InvalidTypeError, InvalidValueError, UnrolledError
from unrolled.gradients.backward import pull_back_call
from unrolled.gradients.flow import GradientFlow
from unrolled.gradients.profile import Profile
from unrolled.rollout.capture import Call, initial_states, recurrent_modules, replay
from unrolled.rollout.layout import Layout
from unrolled.rollout.scaled import LOG10_2, Scaled


@dataclass(frozen=True)
class Seen:
    """One recorded backward pass: its number, from 1, and its flow, or why there is none."""

    backward: int
    flow: GradientFlow | None
    problem: str | None = None


def watch(model: nn.Module, every: int = 20) -> Watch:
    """Record the gradient flow of every `every`-th backward pass of a training loop, the first included.

        with unrolled.watch(model, every=20) as watched:
            for batch in data:
                loss(model(batch)).backward()
                ...
                log(watched.latest().scalars())

    Nothing about the training changes: weight gradients are bit-identical to those without it. Between
    records only one hook is left, which counts. Call `.close()`, or leave the `with` block, to take it off.

    What flows between recurrent modules and calls is what autograd itself sends there, so that part has
    autograd's range; within each call norms never under- or overflow.
    """
    return Watch(model, every)


@dataclass
class _Captured:
    """A call as it came by: what it read, and the gradients of its results as they arrive."""

    name: str
    module: nn.RNNBase
    layout: Layout
    sources: list[Tensor]
    cotangents: list[Tensor | None]
    number: int = 0


class Watch:
    """A handle on a watched model; made by `watch`."""

    def __init__(self, model: nn.Module, every: int = 20) -> None:
        if isinstance(every, bool) or not isinstance(every, int):
            raise InvalidTypeError(f"every: expected an integer of at least 1, got {every!r}; try every=20")
        if every < 1:
            raise InvalidValueError(f"every: expected an integer of at least 1, got {every}; try every=20")
        self._modules = recurrent_modules(model)
        self._parameters = dict(model.named_parameters())
        self.every = every
        self.history: list[Seen] = []
        self.backwards = 0
        self._calls: list[_Captured] = []
        self._hooks: list[RemovableHandle] = []
        self._queued = False
        own = [p for module in self._modules.values() for p in module.parameters() if p.requires_grad]
        if not own:
            raise InvalidValueError(
                "model: expected recurrent weights that are trained, got none with requires_grad; "
                "unfreeze them, or "
                "use unrolled.gradient_flow"
            )
        parameter: Any = own[0]  # torch leaves this method without types
        self._counter: RemovableHandle | None = parameter.register_post_accumulate_grad_hook(self._count)
        self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take every hook off the model; what was recorded stays."""
        self._stop_listening()
        if self._counter is not None:
            self._counter.remove()
            self._counter = None

    def latest(self) -> GradientFlow:
        """The flow recorded last. Raises `InvalidValueError` where there is none, or it met NaN or inf."""
        if not self.history:
            raise InvalidValueError(
                "watch: expected at least one backward pass, got none yet; call .backward() on a loss first"
            )
        seen = self.history[-1]
        if seen.flow is None:
            raise InvalidValueError(f"watch: backward pass {seen.backward} has no flow: {seen.problem}")
        return seen.flow

    def frame(self) -> pd.DataFrame:
        """The history: the columns of `GradientFlow.frame()` after `backward`, the number of the pass."""
        frames = [
            seen.flow.frame().assign(backward=seen.backward) for seen in self.history if seen.flow is not None
        ]
        if not frames:
            return pd.DataFrame()
        history = pd.concat(frames, ignore_index=True)
        return history[["backward", *(name for name in history if name != "backward")]]

    # Counting: one hook on one parameter, once per backward pass.

    def _count(self, _: Tensor) -> None:
        self.backwards += 1
        if not self._hooks and self.backwards % self.every == 0:
            self._listen()

    # Recording: forward hooks, put on before a pass that is due and taken off after it.

    def _listen(self) -> None:
        self._hooks = [
            module.register_forward_hook(partial(self._capture, name), with_kwargs=True)
            for name, module in self._modules.items()
        ]

    def _stop_listening(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._calls = [], []

    def _capture(
        self, name: str, module: nn.RNNBase, inputs: tuple[Any, ...], named: dict[str, Any], result: Any
    ) -> None:
        output, last = result
        data = output.data if isinstance(output, PackedSequence) else output
        if not data.requires_grad:
            return
        sequence = inputs[0] if inputs else named["input"]
        hx = inputs[1] if len(inputs) > 1 else named.get("hx")
        with torch.no_grad():
            layout = Layout.of(module, name, sequence)
            sources = [
                layout.inward(sequence).detach(),
                *(state.detach() for state in initial_states(module, name, layout, sequence, hx)),
            ]
        results = [data, *(last if isinstance(last, tuple) else (last,))]
        captured = _Captured(name, module, layout, sources, [None] * len(results))
        self._calls.append(captured)
        for position, tensor in enumerate(results):
            tensor.register_hook(self._receiver(captured, position))

    def _receiver(self, captured: _Captured, position: int) -> Callable[[Tensor], None]:
        def receive(cotangent: Tensor) -> None:
            captured.cotangents[position] = cotangent.detach().clone()
            if not self._queued:
                # Runs at the end of this backward pass: all gradients are there, no weight has changed yet.
                self._queued = True
                torch.autograd.Variable._execution_engine.queue_callback(self._record)

        return receive

    def _record(self) -> None:
        self._queued = False
        backward = max(self.backwards, 1)
        # A forward pass that no backward followed, such as a look at another batch, left nothing behind.
        calls = [call for call in self._calls if any(part is not None for part in call.cotangents)]
        self._stop_listening()
        if backward % self.every == 0:
            self._listen()
        try:
            profiles = [profile for call in _numbered(calls) for profile in _profiles(call)]
        except UnrolledError as error:
            self.history.append(Seen(backward, None, str(error)))
            return
        norms = {
            name: LOG10_2 * float(Scaled.of(parameter.grad).log2_norm())
            for name, parameter in self._parameters.items()
            if parameter.grad is not None
        }
        self.history.append(Seen(backward, GradientFlow(tuple(profiles), norms)))


def _numbered(calls: list[_Captured]) -> list[_Captured]:
    """The calls, each numbered among those of its module."""
    seen: Counter[str] = Counter()
    for call in calls:
        call.number = seen[call.name]
        seen[call.name] += 1
    return calls


@torch.no_grad()
def _profiles(captured: _Captured) -> list[Profile]:
    tracks, results = replay(captured.name, captured.module, captured.layout, captured.sources)
    call = Call(
        captured.name,
        captured.module,
        captured.number,
        captured.layout,
        tracks,
        tuple(captured.sources),
        results,
    )
    output, *last = captured.cotangents
    if output is not None and captured.layout.packed is not None:
        packed = captured.layout.packed
        output = captured.layout.inward(
            PackedSequence(output, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        )
    elif output is not None:
        output = captured.layout.inward(output)
    states = [None if state is None else captured.layout.state_inward(state) for state in last]
    found, _ = pull_back_call(
        call,
        None if output is None else Scaled.of(output, 2),
        tuple(None if state is None else Scaled.of(state, 2) for state in states),
        gradients=None,
        needs_input=False,
    )
    return found
