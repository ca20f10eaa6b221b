"""The gradient's norm at every step of every recurrent layer of a model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from unrolled.environment import Environment
from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.gradients.backward import backward
from unrolled.gradients.cell_profiles import OutOfRangeError
from unrolled.gradients.clipping import Clip, ClipReport, compare
from unrolled.gradients.clipping.step import StepBound
from unrolled.gradients.loss import Loss, scalar_loss
from unrolled.gradients.profile import Profile
from unrolled.rollout.arguments import Arguments
from unrolled.rollout.preserve import preserved
from unrolled.rollout.record import Rollout
from unrolled.rollout.scaled import LOG10_2, Scaled, log2_total
from unrolled.rollout.targets import Cells, Target, targets_of

VERSION = 1  # of the JSON
ROUNDINGS = 64  # in the last digit of a gradient, relative to its norm, that are no change of it


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """How the gradient flowed back through a model once.

    `profiles`: one per module, call, layer, direction and path. `parameters`: log10 norm of the gradient of
    each parameter (after clipping, where `clip` is given). `gradients` holds those gradients themselves, with
    exponents, in the process that computed them; a loaded flow has none. `notes`: what else was seen, a sentence each.
    """

    profiles: tuple[Profile, ...]
    parameters: dict[str, float]
    clip: ClipReport | None = None
    environment: dict[str, Any] = field(default_factory=dict, repr=False)
    gradients: dict[str, Scaled] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

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
        """One row per profile: its verdict, and the numbers that this rests on."""
        rows = [
            {
                **{
                    name: getattr(p, name) for name in ("module", "call", "layer", "direction", "path", "steps")
                },
                **{name: value for name, value in p.verdict.to_dict().items() if name != "thirds"},
            }
            for p in self.joined()
        ]
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "version": VERSION,
            "profiles": [profile.to_dict() for profile in self.profiles],
            "parameters": {name: _plain(norm) for name, norm in self.parameters.items()},
            "clip": None if self.clip is None else {k: _plain(v) for k, v in self.clip.to_dict().items()},
            "environment": self.environment,
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> GradientFlow:
        """The inverse of `to_dict`, without samples and tensors. Raises `ResultFileError`."""
        if fields.get("version") != VERSION:
            raise ResultFileError(
                f"gradient flow: expected version {VERSION}, got {fields.get('version')!r}; measure it again"
            )
        try:
            clip = fields["clip"]
            return cls(
                tuple(Profile.from_dict(profile) for profile in fields["profiles"]),
                {name: _norm(norm) for name, norm in fields["parameters"].items()},
                None
                if clip is None
                else ClipReport(**{k: _norm(v) if k != "bound" else v for k, v in clip.items()}),
                fields["environment"],
                notes=tuple(fields.get("notes", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ResultFileError(
                f"gradient flow: expected what to_json wrote, got a damaged record ({error}); measure it again"
            ) from error

    def to_json(self, path: str | Path) -> None:
        """Write everything but samples and tensors; the directory must exist."""
        Path(path).write_text(json.dumps(self.to_dict(), allow_nan=False, indent=1) + "\n")

    @classmethod
    def from_json(cls, path: str | Path) -> GradientFlow:
        """Read what `to_json` wrote. Raises `ResultFileError`."""
        try:
            fields = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise ResultFileError(
                f"{path}: expected a gradient flow as JSON, got {error}; measure it again"
            ) from error
        if not isinstance(fields, dict):
            raise ResultFileError(
                f"{path}: expected a gradient flow, got {type(fields).__name__}; measure it again"
            )
        return cls.from_dict(fields)

    def to_csv(self, path: str | Path) -> None:
        """Write `frame()`."""
        self.frame().to_csv(path, index=False)


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
) -> GradientFlow:
    """Run a model once, forward and backward, and look at the total gradient of every hidden state.

    `model` is an `nn.RNN`, `nn.GRU` or `nn.LSTM`, or contains some, or loops over their cells; it stays as it is,
    with its `.grad`, its buffers, what it keeps on itself, and the random state. `cells` names cells that are not
    torch's: a class, an instance, or a tuple of them, each called as `cell(x_t, state)` (see `unrolled.cells.own`).
    `inputs` is what the model takes: a tuple for several arguments, a dict for arguments by name, anything else as the
    only argument. `state` is an initial state that is passed on after them. `loss` maps what the model returns to a
    scalar; by default a fixed random unit cotangent per sample at the last step of the output. `clip` is a mode such
    as `norm:1` (see `unrolled.clipping`): it acts on the parameters' gradients, or, for `step:1`, on the profile.

    Norms never under- or overflow. float64 is computed in float64, everything else in float32.

    Raises `InvalidValueError` or `InvalidTypeError` for what cannot be run, `NonFiniteError` where the network itself
    produces NaN or inf.
    """
    clip = Clip.parse(clip)
    return flow_of(model, Arguments.of(model, inputs, state), targets_of(model, cells), loss, clip)


@torch.enable_grad()
def flow_of(
    model: nn.Module, call: Callable[[], Any], targets: Sequence[Target], loss: Loss | None, clip: Clip
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
    norms = {name: LOG10_2 * float(gradient.log2_norm()) for name, gradient in gradients.items()}
    return GradientFlow(tuple(profiles), norms, report, _environment(), gradients, tuple(rollout.notes))


def _check_length(rollout: Rollout) -> None:
    if len(rollout.calls) == 1 and rollout.calls[0].steps == 1:
        raise InvalidValueError(
            "inputs: expected at least 2 steps, got T = 1, which has nothing to flow back to; pass a longer sequence"
        )


@cache
def _machine() -> dict[str, Any]:
    """Looked at once per process: asking git costs more than a small network's backward pass."""
    return Environment.capture().to_dict()


def _environment() -> dict[str, Any]:
    """Without the load, which has no say in the numbers and would make every file a different one."""
    kept = {name: value for name, value in _machine().items() if name != "load_average"}
    return {**kept, "threads": torch.get_num_threads()}


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


def _plain(value: Any) -> Any:
    """NaN and inf as text, which JSON has no numbers for."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _norm(value: Any) -> Any:
    """The inverse of `_plain`."""
    return float(value) if value in ("nan", "inf", "-inf") else value
