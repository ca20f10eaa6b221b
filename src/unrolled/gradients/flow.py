"""The gradient's norm at every step of every recurrent layer of a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from unrolled.environment import Environment
from unrolled.errors import InvalidValueError
from unrolled.gradients.backward import backward
from unrolled.gradients.cell_profiles import OutOfRangeError
from unrolled.gradients.clipping import Clip, ClipReport, compare
from unrolled.gradients.clipping.report import agree
from unrolled.gradients.clipping.step import StepBound
from unrolled.gradients.loss import Loss, scalar_loss
from unrolled.gradients.profile import Profile
from unrolled.gradients.sensitivity import Sensitivity, sensitivities
from unrolled.results.codec import IF_NOT_DEFAULT, UNSAVED, require
from unrolled.results.record import Record
from unrolled.rollout.arguments import Arguments
from unrolled.rollout.fused import FusedCall
from unrolled.rollout.preserve import preserved
from unrolled.rollout.record import Rollout
from unrolled.rollout.scaled import LOG10_2, Scaled, check_logs, log2_total
from unrolled.rollout.targets import Cells, Target, targets_of

ROUNDINGS = 64  # in the last digit of a gradient, relative to its norm, that are no change of it


@dataclass(frozen=True, eq=False, repr=False)
class GradientFlow(Record):
    """How the gradient flowed back through a model once.

    `profiles`: one per module, call, layer, direction and path. `parameters`: log10 norm of the gradient of
    each parameter (after clipping, where `clip` is given). `gradients` holds those gradients themselves, with
    exponents, in the process that computed them; a loaded flow has none. `environment` is None in a study, which has
    one for all. `notes`: what else was seen, a sentence each. `sensitivities`: one per layer and direction of the calls
    of fused modules, where they were asked for.
    """

    FORMAT, VIEW = "unrolled.gradient_flow", "gradient_flow"
    # 2: null is None and nothing else; a norm of 0 is "-inf". Format and version stand first, as in all results.
    VERSION = 2

    profiles: tuple[Profile, ...]
    parameters: dict[str, float]
    clip: ClipReport | None = None
    environment: Environment | None = None
    gradients: dict[str, Scaled] = field(default_factory=dict, metadata=UNSAVED)
    notes: tuple[str, ...] = ()
    sensitivities: tuple[Sensitivity, ...] = field(default=(), metadata=IF_NOT_DEFAULT)

    def __iter__(self) -> Iterator[Profile]:
        return iter(self.profiles)

    @property
    def log10_norm(self) -> float:
        """log10 of the global L2 norm of the gradient of all parameters."""
        return LOG10_2 * log2_total([norm / LOG10_2 for norm in self.parameters.values()])

    def profile(self, module: str | None = None, **labels: Any) -> Profile:
        """The one profile with these labels (`call`, `layer`, `direction`, `path`); the first that fits.

        Raises `InvalidValueError` when none does.
        """
        wanted = labels if module is None else {"module": module, **labels}
        for profile in self.profiles:
            if all(getattr(profile, name, None) == value for name, value in wanted.items()):
                return profile
        raise InvalidValueError(
            f"profile: expected one of {', '.join(p.label for p in self.profiles[:8])}, got {wanted}; "
            f"see .frame()"
        )

    def joined(self) -> list[Profile]:
        """The profiles; those of a loop that calls a module one step at a time are joined into one."""

        def place(profile: Profile) -> tuple[str, int, str, str]:
            return profile.module, profile.layer, profile.direction, profile.path

        found: list[Profile] = []
        for _, group in groupby(sorted(self.profiles, key=place), key=place):
            calls = list(group)
            loop = len(calls) > 1 and all(profile.steps == 1 for profile in calls)
            found += [Profile.joined(calls)] if loop else calls
        return found

    def frame(self) -> pd.DataFrame:
        """One row per profile and step.

        Columns module, call, layer, direction, path, step, lag, log10_norm (RMS over the batch), log10_min,
        log10_median, log10_max (over samples). `Profile` says what step and lag mean for `reverse`.
        """
        return pd.concat([profile.frame() for profile in self.profiles], ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """One row per profile: what it is of, its steps T, the verdict, and the numbers that this rests on."""
        places = ("module", "call", "layer", "direction", "path")
        rows = []
        for profile in self.joined():
            verdict = {name: value for name, value in asdict(profile.verdict).items() if name != "thirds"}
            row = {"profile": profile.label, "steps": profile.steps, "verdict": verdict.pop("word"), **verdict}
            rows.append(row | {name: getattr(profile, name) for name in places})
        return pd.DataFrame(rows)

    def scalars(self) -> dict[str, float]:
        """Floats for any logger: norms at the first and last step, slope and horizon of each profile."""
        values = {"gradient/log10_norm": self.log10_norm}
        for profile in self.joined():
            verdict = profile.verdict
            label = f"flow/{profile.label}"
            values[f"{label}/log10_first"] = float(profile.log10_norm[-1])
            values[f"{label}/log10_last"] = float(profile.log10_norm[0])
            values[f"{label}/decades_per_step"] = verdict.decades_per_step
            values[f"{label}/horizon"] = math.nan if verdict.horizon is None else float(verdict.horizon)
        return values

    def gradient(self, parameter: str) -> Tensor:
        """The gradient of a parameter as an ordinary tensor, 0 or inf where its dtype cannot hold it."""
        if parameter not in self.gradients:
            raise InvalidValueError(
                f"parameter: expected one of "
                f"{', '.join(self.gradients) or 'none (a loaded flow has no tensors)'}, "
                f"got {parameter!r}; use a name of model.named_parameters()"
            )
        return self.gradients[parameter].value()

    def check(self) -> None:
        """Raise `ValueError` for what is no flow through one model."""
        require(len(self.profiles) > 0, "profiles")
        labels = {(p.module, p.call, p.layer, p.direction, p.path) for p in self.profiles}
        require(len(labels) == len(self.profiles), "each profile once")
        steps = {(p.module, p.call, p.layer, p.direction): p.steps for p in self.profiles}
        kept = {(s.module, s.call, s.layer, s.direction): s.steps for s in self.sensitivities}
        require(len(kept) == len(self.sensitivities), "each sensitivity once")
        require(kept.items() <= steps.items(), "sensitivities beside profiles of as many steps")
        for name in {profile.module for profile in self.profiles}:
            calls = {profile.call for profile in self.profiles if profile.module == name}
            require(calls == set(range(len(calls))), f"calls of {name} from 0 up")
        norms = np.array(list(self.parameters.values()), dtype=float)
        if (known := norms[~np.isnan(norms)]).size:  # NaN is what a watched training had
            check_logs(known, 1, "norms of parameters")
        if self.clip is not None:
            require(agree(self.log10_norm, self.clip.log10_after), "parameters of the norm that clipping left")


# The most steps of a cell that autograd goes back through at once; the next is tried where it leaves its range.
STEPS_PER_BLOCK = (32, 4, 1)


def gradient_flow(
    model: nn.Module,
    inputs: Any,
    loss: Loss | None = None,
    *,
    state: Any = None,
    clip: str | Clip | None = None,
    cells: Cells = (),
    sensitivity: bool = False,
) -> GradientFlow:
    """Run a model once, forward and backward, and look at the total gradient of every hidden state.

    `model` is an `nn.RNN`, `nn.GRU` or `nn.LSTM`, or contains some, or loops over their cells; it stays as it is,
    with its `.grad`, its buffers, what it keeps on itself, and the random state. `cells` names cells that are not
    torch's: a class, an instance, or a tuple of them, each called as `cell(x_t, state)` (see `unrolled.cells.own`).
    `inputs` is what the model takes: a tuple for several arguments, a dict for arguments by name, anything else as the
    only argument. `state` is an initial state that is passed on after them. `loss` maps what the model returns to a
    scalar; by default a fixed random unit cotangent per sample at the last step of the output. `clip` is a mode such
    as `norm:1` (see `unrolled.clipping`): it acts on the parameters' gradients, or, for `step:1`, on the profile.
    With `sensitivity`, `flow.sensitivities` say how far the states of each layer move with its weights.

    Norms never under- or overflow. float64 is computed in float64, everything else in float32.

    Raises `InvalidValueError` or `InvalidTypeError` for what cannot be run, `NonFiniteError` where the network itself
    produces NaN or inf.
    """
    clip = Clip.parse(clip)
    return flow_of(model, Arguments.of(model, inputs, state), targets_of(model, cells), loss, clip, sensitivity)


@torch.enable_grad()
def flow_of(
    model: nn.Module,
    call: Callable[[], Any],
    targets: Sequence[Target],
    loss: Loss | None,
    clip: Clip,
    sensitivity: bool = False,
) -> GradientFlow:
    """The flow back through one call of a model; see `gradient_flow`."""
    named = dict(model.named_parameters())
    with preserved(model) as before:
        for steps in (1,) if clip.works_on_states else STEPS_PER_BLOCK:
            rollout = Rollout.of(call, targets, steps)
            _check_length(rollout)
            scalar = scalar_loss(loss, rollout.output, rollout.layout)
            try:
                profiles, found = backward(rollout, scalar, named.values())
                break
            except OutOfRangeError:
                before.restore()  # and once more, in shorter blocks
        gradients = {name: found[parameter] for name, parameter in named.items() if parameter in found}
        report = None
        if clip.works_on_states:
            unclipped, bound = gradients, StepBound(clip.rule.bound)
            profiles, found = backward(rollout, scalar, named.values(), bound)
            gradients = {name: found[parameter] for name, parameter in named.items() if parameter in found}
            report = _step_report(clip, unclipped, gradients, bound)
        elif clip.works_on_gradients:
            gradients, report = clip.clip(gradients, named)
        found_beside = [
            each
            for one in rollout.calls
            if sensitivity and isinstance(one, FusedCall)
            for each in sensitivities(one)
        ]
    norms = {name: LOG10_2 * float(gradient.log2_norm()) for name, gradient in gradients.items()}
    return GradientFlow(
        tuple(profiles),
        norms,
        report,
        Environment.without_load(),
        gradients,
        tuple(rollout.notes),
        tuple(found_beside),
    )


def _check_length(rollout: Rollout) -> None:
    if len(rollout.calls) == 1 and rollout.calls[0].steps == 1:
        raise InvalidValueError(
            "inputs: expected at least 2 steps, got T = 1, which has nothing to flow back to; pass a longer sequence"
        )


def _step_report(
    clip: Clip, before: dict[str, Scaled], after: dict[str, Scaled], bound: StepBound
) -> ClipReport:
    touched, seen = bound.count
    changed = sum(_differ(before[name], gradient) for name, gradient in after.items()) if touched else 0
    return ClipReport(
        clip.mode,
        clip.bound,
        **compare(before, after),
        entries=touched / max(seen, 1),
        tensors=changed / max(len(after), 1),
    )


def _differ(one: Scaled, other: Scaled) -> bool:
    """Whether by more than two passes that add up the same terms, each in an order of its own."""
    rounding = ROUNDINGS * torch.finfo(other.mantissa.dtype).eps
    return bool((one + other.scale(-1.0)).log2_norm() > one.log2_norm() + math.log2(rounding))
