"""The backward pass over a rollout: call by call from the last to the first, in range all the way."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from unrolled.cells.weights import names
from unrolled.errors import InvalidValueError
from unrolled.gradients.blocks import pull_back_block
from unrolled.gradients.cell_profiles import cell_profiles
from unrolled.gradients.graph import Gradients
from unrolled.gradients.profile import Profile
from unrolled.gradients.pullback import Pulled, StepBound, pull_back
from unrolled.rollout.fused import DIRECTIONS, FusedCall
from unrolled.rollout.layer import LayerRun
from unrolled.rollout.layout import reverse_time
from unrolled.rollout.nonfinite import check_cotangent
from unrolled.rollout.record import Rollout
from unrolled.rollout.scaled import Scaled


def backward(
    rollout: Rollout, scalar: Tensor, parameters: Iterable[Tensor], bound: StepBound | None = None
) -> tuple[list[Profile], dict[Tensor, Scaled]]:
    """All profiles, in the order of the calls, and the gradients of `parameters` that there are.

    Raises `OutOfRangeError` where a block of steps of a cell is too long for the dtype's range.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    places = [place for run in rollout.runs for of_step in run.places for place in of_step if place is not None]
    gradients = Gradients(trained, rollout.leaves, places)
    with torch.autocast(scalar.device.type, enabled=False):  # a backward pass is in the dtypes of its forward
        return _backward(rollout, scalar, gradients, trained, bound)


def _backward(
    rollout: Rollout, scalar: Tensor, gradients: Gradients, trained: list[Tensor], bound: StepBound | None
) -> tuple[list[Profile], dict[Tensor, Scaled]]:
    if not gradients.from_scalar(scalar):
        raise InvalidValueError(
            "loss: expected a loss that depends on the recurrent output, got one that does not; compute it from what "
            "the recurrent module returned, without .detach()"
        )
    of_fused: dict[FusedCall, list[Profile]] = {}
    for event in rollout.backwards():
        if isinstance(event, FusedCall):
            of_fused[event] = _pull_back_fused(event, gradients, bound)
        else:
            pull_back_block(event, gradients, trained, bound)
    profiles = []
    for call in rollout.calls:
        if isinstance(call, FusedCall):
            profiles += of_fused[call]
        else:
            profiles += cell_profiles(call, gradients, rollout.steps_per_block)
    return profiles, gradients.of_parameters()


def _pull_back_fused(call: FusedCall, gradients: Gradients, bound: StepBound | None) -> list[Profile]:
    """Pull back through a call, and on through what its inputs were made of."""
    output, *last = (gradients.taken(leaf, leading=2) for leaf in call.leaves)
    wanted = call.sources[0].requires_grad
    profiles, cotangents = pull_back_call(call, output, tuple(last), gradients, wanted, bound)
    onward = [
        (source, cotangent)
        for source, cotangent in zip(call.sources, cotangents, strict=True)
        if source.requires_grad and cotangent is not None
    ]
    if onward:
        gradients.through(*zip(*onward, strict=True))
    return profiles


def pull_back_call(
    call: FusedCall,
    output: Scaled | None,
    last: tuple[Scaled | None, ...],
    gradients: Gradients | None,
    needs_input: bool,
    bound: StepBound | None = None,
) -> tuple[list[Profile], tuple[Scaled | None, ...]]:
    """Pull back through the layers of one call, from the top.

    `output` `(T, B, D*P)` and `last` `(L*D, B, ·)` are the gradients that reach its results. Returns the
    profiles, from layer 0 up, and the cotangents of its sources. Weight gradients are added to `gradients`.

    Raises `NonFiniteError` where a gradient that comes in is not finite.
    """
    for cotangent in (output, *last):
        if cotangent is not None:
            check_cotangent(cotangent.mantissa, call.target.name)
    directions = len(call.layers[0])
    profiles: list[list[Profile]] = []
    starts: list[tuple[Scaled, ...]] = []
    for layer in reversed(range(len(call.layers))):
        below: Scaled | None = None
        parts = _split(output, directions)
        found: list[Profile] = []
        first_states = []
        for direction, run in enumerate(call.layers[layer]):
            row = layer * directions + direction
            direct = parts[direction]
            final = tuple(None if s is None else Scaled(s.mantissa[row], s.exponent[row]) for s in last)
            pulled = pull_back(
                run,
                _reversed(direct, run) if direction else direct,
                final,
                needs_input=needs_input or layer > 0,
                needs_weights=gradients is not None,
                bound=bound,
                name=f"{call.target.name!r}, layer {layer} ({DIRECTIONS[direction]})",
            )
            found += _profiles(call, layer, direction, pulled, run)
            first_states.append(pulled.start)
            if gradients is not None:
                _add_weights(gradients, call.weights, layer, bool(direction), pulled.gradients)
            if pulled.x_bar is not None:
                x_bar = _reversed(pulled.x_bar, run) if direction else pulled.x_bar
                below = x_bar if below is None or x_bar is None else below + x_bar
        profiles.append(found)
        starts = first_states + starts
        output = below if below is None or not layer or not call.masks else below.times(call.masks[layer - 1])
    states = tuple(
        Scaled(torch.stack([s.mantissa for s in path]), torch.stack([s.exponent for s in path]))
        for path in zip(*starts, strict=True)
    )
    return [profile for found in reversed(profiles) for profile in found], (output, *states)


def _split(output: Scaled | None, directions: int) -> list[Scaled | None]:
    """The gradient of an output, one part per direction."""
    if output is None:
        return [None] * directions
    return [Scaled(part, output.exponent) for part in output.mantissa.chunk(directions, dim=-1)]


def _reversed(cotangent: Scaled | None, run: LayerRun) -> Scaled | None:
    """Turned around in time, each sequence within its own length."""
    if cotangent is None:
        return None
    return Scaled(reverse_time(cotangent.mantissa, run.lengths), reverse_time(cotangent.exponent, run.lengths))


def _profiles(call: FusedCall, layer: int, direction: int, pulled: Pulled, run: LayerRun) -> list[Profile]:
    labels = {
        "module": call.target.name,
        "call": call.number,
        "layer": layer,
        "direction": DIRECTIONS[direction],
    }
    return [
        Profile.of({**labels, "path": path}, norms, run.lengths)
        for path, norms in zip(run.cell.paths, pulled.log2_norms, strict=True)
    ]


def _add_weights(
    gradients: Gradients, weights: dict[str, Tensor], layer: int, reverse: bool, found: dict[str, Scaled]
) -> None:
    """Hand weight gradients to the parameters, through what was made of them if anything was."""
    full_names = names(layer, reverse)
    for short, gradient in found.items():
        weight = weights[full_names[short]]
        if weight in gradients.parameters:
            gradients.add(weight, gradient)
        elif weight.grad_fn is not None:
            gradients.through([weight], [gradient])
