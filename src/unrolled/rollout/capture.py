"""One forward pass of an unmodified model, taken apart at its recurrent modules.

While it runs, each call of a recurrent module is carried out layer by layer and its results are handed on
as leaves of the autograd graph. So autograd knows only what lies between the recurrent calls, and the
calls themselves are pulled back through by our own recurrences, in any range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.rollout import layer as track
from unrolled.rollout.layer import Track
from unrolled.rollout.layout import Layout, check_state, reverse_time
from unrolled.rollout.nonfinite import check_states

DIRECTIONS = ("forward", "reverse")


@dataclass(frozen=True)
class Call:
    """One call of one module.

    `tracks[layer][direction]`. `sources` are what it read, `(x, h0)` or `(x, h0, c0)` in the `(T, B, ·)`
    layout, still connected to what made them; `leaves` what it gave, `(output, h_n)` or `(output, h_n,
    c_n)`.
    """

    name: str
    module: nn.RNNBase
    number: int
    layout: Layout
    tracks: list[list[Track]]
    sources: tuple[Tensor, ...]
    leaves: tuple[Tensor, ...]


@dataclass
class Trajectory:
    """The calls of one forward pass, in order, and what the model returned."""

    modules: dict[str, nn.RNNBase]
    calls: list[Call] = field(default_factory=list)
    output: Any = None

    @classmethod
    def of(cls, model: nn.Module, arguments: tuple[Any, ...]) -> Trajectory:
        """Run `model(*arguments)` once."""
        trajectory = cls(recurrent_modules(model))
        with trajectory.recording(), torch.enable_grad():
            trajectory.output = model(*arguments)
        return trajectory

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Stand in for the forward of every recurrent module, and undo it whatever happens."""
        try:
            for name, module in self.modules.items():
                module.forward = partial(self._forward, name, module)
            yield
        finally:
            for module in self.modules.values():
                module.__dict__.pop("forward", None)

    def _forward(self, name: str, module: nn.RNNBase, input: Any, hx: Any = None) -> tuple[Any, Any]:
        layout = Layout.of(module, name, input)
        sources = (layout.inward(input), *initial_states(module, name, layout, input, hx))
        tracks, results = replay(name, module, layout, [source.detach() for source in sources])
        wanted = torch.is_grad_enabled()
        leaves = tuple(result.requires_grad_(wanted) for result in results)
        number = sum(call.module is module for call in self.calls)
        self.calls.append(Call(name, module, number, layout, tracks, sources, leaves))
        # Clones, because a model may write into what it was given and may not write into a leaf.
        output = layout.outward(leaves[0].clone())
        states = tuple(layout.state_outward(leaf.clone()) for leaf in leaves[1:])
        return output, states if len(states) > 1 else states[0]


def recurrent_modules(model: nn.Module) -> dict[str, nn.RNNBase]:
    """The recurrent modules of a model by name; raises when there are none, or one cannot be replayed."""
    if not isinstance(model, nn.Module):
        raise InvalidTypeError(f"model: expected an nn.Module, got {type(model).__name__}; pass a module")
    found: dict[str, nn.RNNBase] = {}
    for path, module in model.named_modules():
        if not isinstance(module, nn.RNN | nn.GRU | nn.LSTM):
            continue
        name = path or type(module).__name__
        _check_forward(name, module)
        if module.dropout > 0 and module.num_layers > 1 and module.training:
            raise InvalidValueError(
                f"module {name!r}: expected no dropout between layers, got dropout={module.dropout} in "
                f"training "
                "mode, which cannot be replayed; call model.eval() or set its dropout to 0"
            )
        found[name] = module
    if not found:
        raise InvalidValueError(
            f"model: expected an nn.RNN, nn.GRU or nn.LSTM inside, got {type(model).__name__} without "
            f"one; for "
            "a recurrence of your own use unrolled.step_gradient_flow"
        )
    return found


def _check_forward(name: str, module: nn.RNNBase) -> None:
    original: tuple[Callable[..., Any], ...] = (nn.RNN.forward, nn.GRU.forward, nn.LSTM.forward)
    if type(module).forward not in original or "forward" in module.__dict__:
        raise InvalidTypeError(
            f"module {name!r}: expected torch's own forward, got the one of {type(module).__name__}; for "
            "a recurrence of your own use unrolled.step_gradient_flow"
        )


def initial_states(module: nn.RNNBase, name: str, layout: Layout, sequence: Any, hx: Any) -> tuple[Tensor, ...]:
    """`(h0,)` or `(h0, c0)` in the `(L*D, B, ·)` layout: the given ones, or zeros."""
    data = sequence.data if layout.packed is not None else sequence
    if layout.packed is not None:
        batch = int(layout.packed.batch_sizes[0])
    else:
        batch = data.shape[0 if layout.batch_first else 1] if layout.batched else 1
    rows = module.num_layers * (2 if module.bidirectional else 1)
    sizes = [module.proj_size or module.hidden_size]
    if isinstance(module, nn.LSTM):
        sizes.append(module.hidden_size)
    if hx is None:
        return tuple(data.new_zeros(rows, batch, size) for size in sizes)
    given = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
    if len(given) != len(sizes) or isinstance(hx, Tensor) != (len(sizes) == 1):
        wanted = "(h0, c0)" if len(sizes) > 1 else "one tensor h0"
        raise InvalidTypeError(
            f"initial state of {name!r}: expected {wanted}, got {type(hx).__name__}; see "
            f"{type(module).__name__}"
        )
    for label, state, size in zip(("h0", "c0"), given, sizes, strict=False):
        expected = (rows, batch, size) if layout.batched else (rows, size)
        check_state(module, name, label, state, expected)
    return tuple(layout.state_inward(state) for state in given)


@torch.no_grad()
def replay(
    name: str, module: nn.RNNBase, layout: Layout, sources: list[Tensor]
) -> tuple[list[list[Track]], tuple[Tensor, ...]]:
    """Run a module layer by layer; its tracks, and `(output, h_n)` or `(output, h_n, c_n)`."""
    x, h0, *c0 = sources
    directions = 2 if module.bidirectional else 1
    tracks: list[list[Track]] = []
    for layer in range(module.num_layers):
        tracks.append([])
        outputs = []
        for direction in range(directions):
            row = layer * directions + direction
            own_x = reverse_time(x, layout.lengths) if direction else x
            one = track.run(
                module, layer, bool(direction), own_x, h0[row], c0[0][row] if c0 else None, layout.lengths
            )
            check_states(one.h[1:], name, layer, DIRECTIONS[direction])
            tracks[-1].append(one)
            outputs.append(reverse_time(one.h[1:], layout.lengths) if direction else one.h[1:])
        x = torch.cat(outputs, dim=-1) if directions > 1 else outputs[0]
    every = [one for layer_tracks in tracks for one in layer_tracks]
    results = [x, torch.stack([one.h_n for one in every])]
    if c0:
        results.append(torch.stack([one.c_n for one in every if one.c_n is not None]))
    return tracks, tuple(results)
