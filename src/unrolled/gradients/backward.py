"""The backward pass over a trajectory: call by call from the last to the first, in range all the way."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unrolled.cells.linearisations import names
from unrolled.errors import InvalidValueError
from unrolled.gradients.profile import Profile
from unrolled.gradients.pullback import Pulled, StepBound, pull_back
from unrolled.gradients.segments import Gradients
from unrolled.rollout.capture import DIRECTIONS, Call, Trajectory
from unrolled.rollout.layer import Track
from unrolled.rollout.layout import reverse_time
from unrolled.rollout.nonfinite import check_cotangent
from unrolled.rollout.scaled import Scaled


def backward(
    trajectory: Trajectory, scalar: Tensor, parameters: Iterable[Tensor], bound: StepBound | None = None
) -> tuple[list[Profile], dict[Tensor, Scaled]]:
    """All profiles, in the order of the calls, and the gradients of `parameters` that there are."""
    gradients = Gradients({parameter: 0 for parameter in parameters if parameter.requires_grad})
    leaves = [leaf for call in trajectory.calls for leaf in call.leaves]
    gradients.leading.update(dict.fromkeys(leaves, 2))
    reached = gradients.from_scalar(scalar)
    if not any(leaf in reached for leaf in leaves):
        raise InvalidValueError(
            "loss: expected a loss that depends on the recurrent output, got one that does not; compute "
            "it from "
            "what the recurrent module returned, without .detach()"
        )
    profiles: list[list[Profile]] = []
    for call in reversed(trajectory.calls):
        output, *last = (gradients.sums.pop(leaf, None) for leaf in call.leaves)
        sources = [source.requires_grad for source in call.sources]
        found, cotangents = pull_back_call(call, output, tuple(last), gradients, sources[0], bound)
        profiles.append(found)
        onward = [
            (source, cotangent)
            for source, cotangent in zip(call.sources, cotangents, strict=True)
            if source.requires_grad and cotangent is not None
        ]
        if onward:
            gradients.through(*zip(*onward, strict=True))
    wanted = {leaf: sum_ for leaf, sum_ in gradients.sums.items() if gradients.leading[leaf] == 0}
    return [profile for found in reversed(profiles) for profile in found], wanted


def pull_back_call(
    call: Call,
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
            check_cotangent(cotangent.mantissa, call.name)
    directions = len(call.tracks[0])
    profiles: list[list[Profile]] = []
    starts: list[tuple[Scaled, ...]] = []
    for layer in reversed(range(len(call.tracks))):
        below: Scaled | None = None
        parts = _split(output, directions)
        found: list[Profile] = []
        first_states = []
        for direction, track in enumerate(call.tracks[layer]):
            row = layer * directions + direction
            direct = parts[direction]
            final = tuple(None if s is None else Scaled(s.mantissa[row], s.exponent[row]) for s in last)
            pulled = pull_back(
                track,
                _reversed(direct, track) if direction else direct,
                final,
                needs_input=needs_input or layer > 0,
                needs_weights=gradients is not None,
                bound=bound,
                name=f"{call.name!r}, layer {layer} ({DIRECTIONS[direction]})",
            )
            found += _profiles(call, layer, direction, pulled, track)
            first_states.append(pulled.start)
            if gradients is not None:
                _add_weights(gradients, call.module, layer, bool(direction), pulled.gradients)
            if pulled.x_bar is not None:
                x_bar = _reversed(pulled.x_bar, track) if direction else pulled.x_bar
                below = x_bar if below is None or x_bar is None else below + x_bar
        profiles.append(found)
        starts = first_states + starts
        output = below
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


def _reversed(cotangent: Scaled | None, track: Track) -> Scaled | None:
    """Turned around in time, each sequence within its own length."""
    if cotangent is None:
        return None
    return Scaled(
        reverse_time(cotangent.mantissa, track.lengths), reverse_time(cotangent.exponent, track.lengths)
    )


def _profiles(call: Call, layer: int, direction: int, pulled: Pulled, track: Track) -> list[Profile]:
    labels = {"module": call.name, "call": call.number, "layer": layer, "direction": DIRECTIONS[direction]}
    return [
        Profile.of({**labels, "path": path}, norms, track.lengths)
        for path, norms in zip(track.kind.paths, pulled.log2_norms, strict=True)
    ]


def _add_weights(
    gradients: Gradients, module: nn.RNNBase, layer: int, reverse: bool, found: dict[str, Scaled]
) -> None:
    """Hand weight gradients to the module's parameters, through a parametrisation if there is one."""
    full_names = names(layer, reverse)
    for short, gradient in found.items():
        weight = getattr(module, full_names[short])
        if weight in gradients.leading:
            gradients.add(weight, gradient)
        elif weight.grad_fn is not None:
            gradients.through([weight], [gradient])
