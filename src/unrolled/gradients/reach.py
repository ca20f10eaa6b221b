"""How far back one network reaches: its gradient flow, the bound that theory gives, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells import cell_of
from unrolled.errors import InvalidTypeError, InvalidValueError, NonFiniteError
from unrolled.gradients.clipping import Clip
from unrolled.gradients.clipping.report import SLACK
from unrolled.gradients.flow import GradientFlow, gradient_flow
from unrolled.gradients.loss import Loss, last_step_loss
from unrolled.gradients.profile import Profile
from unrolled.gradients.sensitivity import Sensitivity
from unrolled.networks.subject import Subject, their_errors
from unrolled.networks.textbook import Network
from unrolled.newton.attempt import Attempt, Place, attempt_all, check_attempts, in_words, worst
from unrolled.results.codec import IF_NOT_DEFAULT, require
from unrolled.rollout.layout import Layout
from unrolled.theory import GradientBound, gradient_bound

LAGS = (1, 10, 50, 200)  # that a table shows, where the profile has them
STEPS = (1, 10, 50)  # the same of what moves with the weights
LOSSES = ("last", "mean")
FIRST_PATHS = ("h", "0")  # of states of up to two parts, and of more
SLACK_PER_STEP = 1e-5  # decades by which roundings in float32 may carry a norm above its bound


@dataclass(frozen=True, eq=False)
class Reach:
    """The flow of one network, unclipped or clipped at every step; `problem` where it met NaN or inf.

    `attempts` at running it in parallel over time are made where it is not clipped.
    """

    network: str
    clip: str
    flow: GradientFlow | None
    bound: GradientBound | None = None
    problem: str | None = None
    attempts: tuple[Attempt, ...] = field(default=(), metadata=IF_NOT_DEFAULT)

    def frame(self) -> pd.DataFrame:
        """`GradientFlow.frame()` with the columns `network` and `clip` before, and `log10_bound` after.

        `log10_bound` bounds `log10_norm`, given the norm at lag 0 (Pascanu, Mikolov, Bengio 2013, §2.1); NaN
        where theory has no bound.
        """
        if self.flow is None:
            return pd.DataFrame()
        parts = []
        for profile in self.flow:
            part = profile.frame()
            part["log10_bound"] = self._bound_of(profile, part["lag"].to_numpy())
            parts.append(part)
        frame = pd.concat(parts, ignore_index=True)
        frame.insert(0, "network", self.network)
        frame.insert(1, "clip", self.clip)
        return frame

    def sensitivity_frame(self) -> pd.DataFrame:
        """How far states move with their weights: `Sensitivity.frame` of each layer, with `network` before."""
        found = self.flow.sensitivities if self.flow else ()
        if not found:
            return pd.DataFrame()
        frame = pd.concat([each.frame() for each in found], ignore_index=True)
        frame.insert(0, "network", self.network)
        return frame

    def sensitivity_rows(self, every: bool) -> list[dict[str, Any]]:
        """One row for the last layer, forward, or one for each."""
        found = list(self.flow.sensitivities) if self.flow else []
        forward = [each for each in found if each.direction == "forward"]
        word = last_layer(self.flow).verdict.word if self.flow else ""
        return [
            _sensitivity_row(self.network, each, every, word) for each in (found if every else forward[-1:])
        ]

    def _bound_of(self, profile: Profile, lags: np.ndarray) -> np.ndarray:
        top = max(other.layer for other in self.flow or ())
        if self.bound is None or profile.layer != top or not np.isfinite(profile.log10_norm[0]):
            return np.full(len(lags), math.nan)
        bound: np.ndarray = profile.log10_norm[0] + self.bound.log10(lags)
        return bound

    def check(self) -> None:
        """Raise `ValueError` for what no network does."""
        clip = Clip.parse(self.clip)
        require(clip.mode == "none" or clip.works_on_states, f"a clip that changes a profile, got {self.clip}")
        require((self.flow is None) == (self.problem is not None), "a flow, or a problem")
        if self.flow is None:
            require(self.bound is None, "no bound where there is no flow")
            require(not self.attempts, "nothing tried where there is no flow")
            return
        did = self.flow.clip
        expected = None if clip.mode == "none" else (clip.mode, clip.bound)
        require(expected == (did and (did.mode, did.bound)), f"a flow clipped by {self.clip}")
        require(not any(map(math.isnan, self.flow.parameters.values())), "norms of all parameters")
        # A loop over single steps is one recurrence of many calls.
        steps: dict[Place, int] = {
            (each.module, each.call, each.layer, each.direction): each.steps
            for each in (*self.flow, *self.flow.joined())
        }
        check_attempts(self.attempts, steps)
        require(any(_is_first(profile) for profile in self.flow), "a hidden state")
        for profile in self.flow:
            lags = np.arange(profile.steps)
            bound = self._bound_of(profile, lags) + SLACK + SLACK_PER_STEP * lags
            require((np.isnan(bound) | (profile.log10_norm <= bound)).all(), "norms below their bound")

    def rows(self, every_profile: bool) -> list[dict[str, Any]]:
        """One row for the last layer's `h`, or one for every profile."""
        if self.flow is None:
            return [{"network": self.network, "clip": self.clip, "profile": "", "problem": self.problem or ""}]
        profiles = in_order(self.flow) if every_profile else [last_layer(self.flow)]
        return [self._row(profile, every_profile) for profile in profiles]

    def _row(self, profile: Profile, named: bool) -> dict[str, Any]:
        verdict = profile.verdict
        last = profile.steps - 1
        lags = sorted({lag for lag in LAGS if lag <= last} | {last})
        return {
            "network": self.network,
            "clip": self.clip,
            "profile": profile.label if named else "",
            "problem": "",
            "direction": profile.direction,
            "steps": profile.steps,
            **{f"lag {lag}": profile.relative(lag) for lag in lags},
            "decades_per_step": verdict.decades_per_step,
            "half_life": verdict.half_life,
            "horizon": verdict.horizon,
            "horizon_is_censored": verdict.horizon_is_censored,
            "verdict": verdict.word,
            "line": _relative(profile.log10_norm).tolist(),
            "parallel": in_words(worst(self._attempts_of(profile) if named else self.attempts)),
        }

    def _attempts_of(self, profile: Profile) -> list[Attempt]:
        place = (profile.module, profile.layer, profile.direction)
        systems = [(each, each.system) for each in self.attempts]
        return [each for each, system in systems if (system.module, system.layer, system.direction) == place]


def _sensitivity_row(network: str, found: Sensitivity, named: bool, verdict: str) -> dict[str, Any]:
    last = found.steps
    steps = sorted({step for step in STEPS if step <= last} | {last})
    return {
        "network": network,
        "layer": f"{found.module}.l{found.layer}" + f".{found.direction}" * (found.direction != "forward")
        if named
        else "",
        **{f"step {step}": float(found.log10_norm[step - 1]) for step in steps},
        "growth": found.growth,
        "below": float(found.log10_norm[-1] - found.low[-1]),
        "above": float(found.high[-1] - found.log10_norm[-1]),
        "parameters": found.parameters,
        "verdict": verdict,
        "steps": last,
    }


def _relative(log10_norm: np.ndarray) -> np.ndarray:
    """To lag 0; NaN where the norm there is 0."""
    start = log10_norm[0]
    line: np.ndarray = log10_norm - start if np.isfinite(start) else np.full(len(log10_norm), math.nan)
    return line


def in_order(flow: GradientFlow) -> list[Profile]:
    """The joined profiles, module by module as they are called, from layer 0 up, `h` before `c`."""
    modules = list(dict.fromkeys(profile.module for profile in flow))
    paths = list(dict.fromkeys(profile.path for profile in flow))
    return sorted(
        flow.joined(),
        key=lambda p: (modules.index(p.module), p.call, p.layer, p.direction, paths.index(p.path)),
    )


def last_layer(flow: GradientFlow) -> Profile:
    """The profile of the hidden state of the last layer of the module that is called last.

    Of a state of three parts or more that is the first, as it is with two.
    """
    return [profile for profile in in_order(flow) if _is_first(profile)][-1]


def _is_first(profile: Profile) -> bool:
    return profile.path in FIRST_PATHS and profile.direction == "forward"


def measure_reach(network: Subject, loss: str = "last", clip: str = "none") -> Reach:
    """Run `network` once at its own length. NaN and inf that it produces are a result, not an error."""
    module = network.module()
    try:
        flow = run_flow(network, module, network.input(), loss, clip, sensitivity=clip == "none")
    except NonFiniteError as error:
        return Reach(network.name, clip, None, problem=str(error))
    attempts = attempt_all(module, network.input(), cells=network.cells) if clip == "none" else ()
    return Reach(network.name, clip, replace(flow, environment=None), _bound(module, loss), attempts=attempts)


def _bound(module: nn.Module, loss: str) -> GradientBound | None:
    """The bound for an RNN, None for any other network: it holds for a loss at the last step, in the last layer."""
    if loss != "last" or not isinstance(module, nn.RNNBase) or cell_of(module).largest_slope is None:
        return None
    return None if module.bidirectional else gradient_bound(module)


def run_flow(
    network: Subject, module: nn.Module, inputs: Any, loss: str, clip: Any, sensitivity: bool = False
) -> GradientFlow:
    """`gradient_flow`; what somebody else's forward raises becomes an `ImplementationError`."""
    with their_errors(network, inputs):
        return gradient_flow(
            module,
            inputs,
            loss_function(loss, network),
            clip=clip,
            cells=network.cells,
            sensitivity=sensitivity,
        )


def loss_function(loss: str, network: Subject) -> Loss | None:
    """`last` is the library's own (None); `mean` is the mean of such losses over all steps."""
    if loss not in LOSSES:
        raise InvalidValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}; try last")
    if loss == "last":
        return None
    if isinstance(network, Network):
        return mean_loss
    batch_first, batched = network.batch_first, network.batched
    return lambda output: mean_loss(output, batch_first, batched)


def mean_loss(output: Any, batch_first: bool = False, batched: bool = True) -> Tensor:
    """The mean over steps of `v_t · output_t`, summed over samples; `v_t` are fixed random unit vectors."""
    if isinstance(output, tuple | list) and output and not isinstance(output, PackedSequence):
        return mean_loss(output[0], batch_first, batched)
    if not isinstance(output, Tensor) or output.dim() != (3 if batched else 2):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InvalidTypeError(
            f"loss: expected an output with a step dimension for mean, got {got}; use --loss last"
        )
    steps = output.shape[1 if batch_first and batched else 0]
    every_step = Layout(batch_first=False, batched=True, packed=None, lengths=None)
    return last_step_loss(output.flatten(0, -2), every_step) / steps
