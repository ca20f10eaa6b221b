"""One call of `nn.RNN`, `nn.GRU` or `nn.LSTM`, carried out again layer by layer, so that every state is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from unrolled.cells import cell_of
from unrolled.cells.weights import Weights, used
from unrolled.cells.weights import read as read_weights
from unrolled.errors import InvalidTypeError
from unrolled.rollout import layer
from unrolled.rollout.layer import LayerRun
from unrolled.rollout.layout import Layout, check_state, reverse_time
from unrolled.rollout.nonfinite import check_states
from unrolled.rollout.targets import Target

DIRECTIONS = ("forward", "reverse")


@dataclass(frozen=True, eq=False)
class FusedCall:
    """One call of one fused module.

    `layers[layer][direction]` are its runs. `sources` are what it read, `(x, h0)` or `(x, h0, c0)` in the
    `(T, B, ·)` layout, still connected to what made them; `leaves` what it gave, `(output, h_n)` or
    `(output, h_n, c_n)`. `weights`: by name, connected to the parameters that they are made of. `masks`: what the
    output of each layer but the last was multiplied by, `(T, B, D * P)`, where there is dropout between layers.
    """

    target: Target
    number: int
    layout: Layout
    weights: dict[str, Tensor]
    layers: list[list[LayerRun]]
    masks: list[Tensor]
    sources: tuple[Tensor, ...]
    leaves: tuple[Tensor, ...]

    @property
    def module(self) -> nn.RNNBase:
        """The fused module."""
        return module_of(self.target)

    @property
    def leading(self) -> dict[Tensor, int]:
        """For each leaf, how many of its dimensions get exponents of their own: steps or rows, and samples."""
        return dict.fromkeys(self.leaves, 2)

    @property
    def steps(self) -> int:
        """The number of steps of the longest sequence."""
        return self.layers[0][0].steps


def module_of(target: Target) -> nn.RNNBase:
    """The module of a target that is fused."""
    module: nn.RNNBase = target.module  # type: ignore[assignment]
    return module


def run_fused(
    target: Target, number: int, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[FusedCall, tuple[Any, Any]]:
    """Carry out a call in place of the module; the record of it, and what the module would return."""
    sequence, hx = arguments_of(args, kwargs)
    weights = read_weights(module_of(target))
    layout, sources = read(target, sequence, hx)
    device = sources[0].device.type
    with torch.autocast(device, enabled=False):  # in the dtype of the weights, as it is pulled back
        layers, masks, results = replay(target, weights, layout, [source.detach() for source in sources])
    wanted = torch.is_grad_enabled()
    leaves = tuple(result.requires_grad_(wanted) for result in results)
    # Clones, because a model may write into what it was given and may not write into a leaf.
    dtype = _dtype_of_results(sequence, layout, call, leaves[0].dtype)
    output = layout.outward(leaves[0].clone().to(dtype))
    states = tuple(layout.state_outward(leaf.clone().to(dtype)) for leaf in leaves[1:])
    found = FusedCall(target, number, layout, weights, layers, masks, sources, leaves)
    return found, (output, states if len(states) > 1 else states[0])


def arguments_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """The sequence and the state that a fused module was called with; None for no state."""
    sequence = args[0] if args else kwargs["input"]
    return sequence, args[1] if len(args) > 1 else kwargs.get("hx")


def read(target: Target, sequence: Any, hx: Any) -> tuple[Layout, tuple[Tensor, ...]]:
    """The layout of a call, and `(x, h0)` or `(x, h0, c0)` in the layout `(T, B, ·)`, checked.

    Under autocast, where torch takes inputs of another dtype, they are brought to that of the weights.
    """
    module = module_of(target)
    weight = used(module)["weight_ih_l0"]
    if torch.is_autocast_enabled(weight.device.type):
        sequence, hx = cast((sequence, hx), weight.dtype)
    layout = Layout.of(module, target.name, sequence)
    sources = (layout.inward(sequence), *initial_states(target, layout, sequence, hx))
    return layout, sources


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Tensors of floats in another dtype, in tuples, lists and packed sequences too."""
    if isinstance(value, PackedSequence):
        return value._replace(data=cast(value.data, dtype))
    if isinstance(value, tuple | list):
        return tuple(cast(part, dtype) for part in value)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def initial_states(target: Target, layout: Layout, sequence: Any, hx: Any) -> tuple[Tensor, ...]:
    """`(h0,)` or `(h0, c0)` in the `(L*D, B, ·)` layout: the given ones, or zeros."""
    module: Any = target.module
    data = sequence.data if layout.packed is not None else sequence
    if layout.packed is not None:
        batch = int(layout.packed.batch_sizes[0])
    else:
        batch = data.shape[0 if layout.batch_first else 1] if layout.batched else 1
    rows = module.num_layers * (2 if module.bidirectional else 1)
    sizes = cell_of(module).state_sizes(module.hidden_size, module.proj_size)
    if hx is None:
        return tuple(data.new_zeros(rows, batch, size) for size in sizes)
    given = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
    if len(given) != len(sizes) or isinstance(hx, Tensor) != (len(sizes) == 1):
        wanted = "(h0, c0)" if len(sizes) > 1 else "one tensor h0"
        raise InvalidTypeError(
            f"initial state of {target.name!r}: expected {wanted}, got {type(hx).__name__}; see "
            f"{type(module).__name__}"
        )
    for label, state, size in zip(("h0", "c0"), given, sizes, strict=False):
        expected = (rows, batch, size) if layout.batched else (rows, size)
        check_state(module, target.name, label, state, expected)
    return tuple(layout.state_inward(state) for state in given)


@torch.no_grad()
def replay(
    target: Target, weights: Mapping[str, Tensor], layout: Layout, sources: Sequence[Tensor]
) -> tuple[list[list[LayerRun]], list[Tensor], tuple[Tensor, ...]]:
    """Run a module layer by layer: its layers, its dropout masks, and `(output, h_n)` or `(output, h_n, c_n)`.

    The masks are drawn as the module draws them on the CPU, from the generator as it is now.
    """
    module: Any = target.module
    cell = cell_of(module)
    x, h0, *c0 = sources
    directions = 2 if module.bidirectional else 1
    layers: list[list[LayerRun]] = []
    masks: list[Tensor] = []
    for number in range(module.num_layers):
        layers.append([])
        outputs = []
        for direction in range(directions):
            row = number * directions + direction
            own_x = reverse_time(x, layout.lengths) if direction else x
            own = Weights.of(weights, number, bool(direction))
            run = layer.run(cell, own, own_x, h0[row], c0[0][row] if c0 else None, layout.lengths)
            check_states(run.h[1:], target.name, number, DIRECTIONS[direction])
            layers[-1].append(run)
            outputs.append(reverse_time(run.h[1:], layout.lengths) if direction else run.h[1:])
        x = torch.cat(outputs, dim=-1) if directions > 1 else outputs[0]
        if drops(module) and number + 1 < module.num_layers:
            masks.append(draw_mask(x, module.dropout, layout.packed))
            x = x * masks[-1]
    every = [run for of_layer in layers for run in of_layer]
    results = [x, torch.stack([run.h_n for run in every])]
    if c0:
        results.append(torch.stack([run.c_n for run in every if run.c_n is not None]))
    return layers, masks, tuple(results)


def drops(module: nn.RNNBase) -> bool:
    """Whether a call draws random numbers: for dropout between layers."""
    return module.training and module.num_layers > 1 and module.dropout > 0


def draw_mask(like: Tensor, dropout: float, packed: PackedSequence | None) -> Tensor:
    """0 or `1 / (1 - dropout)` for each number of `like` `(T, B, ·)`; drawn as torch draws them on the CPU."""
    if packed is None:
        return F.dropout(torch.ones_like(like), dropout, True)
    drawn = F.dropout(like.new_ones(len(packed.data), like.shape[-1]), dropout, True)
    order = (packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    return pad_packed_sequence(PackedSequence(drawn, *order))[0]


@torch.no_grad()
def _dtype_of_results(sequence: Any, layout: Layout, call: Callable[..., Any], own: torch.dtype) -> torch.dtype:
    """The dtype that the module gives its results; under autocast that takes a try with one step to know."""
    tensor = sequence.data if isinstance(sequence, PackedSequence) else sequence
    if not torch.is_autocast_enabled(tensor.device.type):
        return own
    time = 1 if layout.batch_first and layout.batched else 0
    step = tensor.narrow(time, 0, 1)
    if layout.packed is not None:
        step = step.unsqueeze(0)  # one sample of one step, whichever comes first
    with torch.random.fork_rng(devices=[]):
        output: Tensor = call(step)[0]
    return output.dtype
