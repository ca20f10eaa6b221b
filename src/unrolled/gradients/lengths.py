"""The gradient over sequence length, clipped and unclipped, and what float32 autograd reports in its place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np

from unrolled.errors import ImplementationError, InvalidTypeError, InvalidValueError, NonFiniteError
from unrolled.gradients.clipping import Clip, ClipReport
from unrolled.gradients.clipping.report import check_figures
from unrolled.gradients.float32 import Float32Gradient, float32_gradient
from unrolled.gradients.flow import GradientFlow
from unrolled.gradients.reach import last_layer, loss_function, run_flow
from unrolled.networks.model import UserModel
from unrolled.networks.subject import Subject, their_errors
from unrolled.results.codec import Size, require
from unrolled.rollout.scaled import check_logs

DEFAULT_LENGTHS = (10, 20, 50, 100, 200, 400)
DEFAULT_CLIPS = ("none", "norm:1")


@dataclass(frozen=True)
class LengthResult:
    """One network at one length under one way of clipping.

    `log10_parameters`: log10 of the global norm of the parameters' gradient after clipping;
    `log10_unclipped`: before. `log10_first`: log10 of the norm of the gradient at the first hidden state of the
    last layer (RMS over samples), T - 1 steps from the loss. `float32_parameters`, `float32_first`: these norms,
    not their log10, as autograd and torch.nn.utils report them in float32, None where they have no such thing.
    `cosine`: of the clipped gradient to the unclipped one. `touched`: the share of entries that were changed, or
    of steps, where the clip works on states. `problem`: where the network produced NaN or inf, or how its
    forward failed at this length; the figures are NaN then.
    """

    network: str
    length: Size
    clip: str
    log10_parameters: float = math.nan
    log10_unclipped: float = math.nan
    log10_first: float = math.nan
    float32_parameters: float | None = None
    float32_first: float | None = None
    cosine: float = math.nan
    touched: float = math.nan
    problem: str | None = None

    def check(self) -> None:
        """Raise `ValueError` for what no network does."""
        clip = Clip.parse(self.clip)
        require(str(clip) == self.clip and self.length >= 2, "a clip, and at least 2 steps")
        logs = (self.log10_parameters, self.log10_unclipped, self.log10_first)
        reported = (self.float32_parameters, self.float32_first)
        if self.problem is not None:
            require(all(map(math.isnan, (*logs, self.cosine, self.touched))), "NaN where there is a problem")
            require(reported == (None, None), "no norms where there is a problem")
            return
        bound = None if clip.rule.finds_bound else clip.bound
        after, before, first = logs
        check_figures(clip.rule, bound, before, after, self.touched, self.cosine)
        check_logs(np.array([first]), 1, "norms")
        require(not any(norm is not None and norm < 0 for norm in reported), "norms of at least 0")
        require(reported == (None, None) or not clip.works_on_states, "no such clipping by torch")


def check_lengths(lengths: Sequence[int], longest: int | None = None) -> tuple[int, ...]:
    """The lengths, if they increase and are of 2 to `longest` steps.

    Raises `InvalidValueError` or `InvalidTypeError` if not.
    """
    if not lengths:
        raise InvalidValueError("lengths: expected at least one, got none; try 10,20,50")
    for length in lengths:
        if isinstance(length, bool) or not isinstance(length, int):
            raise InvalidTypeError(f"lengths: expected integers, got {length!r}; try 10,20,50")
        if length < 2:
            raise InvalidValueError(
                f"lengths: expected at least 2 steps, got T = {length}, which leaves nothing to flow back to; "
                "try 10,20,50"
            )
    if any(after <= before for before, after in pairwise(lengths)):
        raise InvalidValueError(
            f"lengths: expected increasing numbers, got {','.join(map(str, lengths))}; sort them, each once"
        )
    if longest is not None and lengths[-1] > longest:
        raise InvalidValueError(
            f"lengths: expected at most {longest}, the steps of the input that the factory gave, got "
            f"{lengths[-1]}; choose shorter ones"
        )
    return tuple(lengths)


def lengths_for(network: Subject, lengths: Sequence[int] | None) -> tuple[int, ...]:
    """The lengths asked for; without any, those of the default ones that the network's own input is as long as."""
    longest = network.longest if isinstance(network, UserModel) else None
    if lengths is not None or longest is None:
        return check_lengths(DEFAULT_LENGTHS if lengths is None else lengths, longest)
    if longest < 2:
        return ()
    return tuple(length for length in DEFAULT_LENGTHS if length <= longest) or (longest,)


def measure_lengths(
    network: Subject, lengths: Sequence[int], clips: Sequence[str], loss: str = "last"
) -> Iterator[list[LengthResult]]:
    """For each length in turn, one result per way of clipping; `auto` remembers the norms of the lengths before.

    Raises `InvalidValueError` or `InvalidTypeError` for what are no lengths, or no ways of clipping.
    """
    longest = network.longest if isinstance(network, UserModel) else None
    lengths = check_lengths(lengths, longest)
    study = _Study(network, [Clip.parse(clip) for clip in clips], loss)
    for length in lengths:
        yield study.at(length)


class _Study:
    """A network and its clips, which may remember the lengths before."""

    def __init__(self, network: Subject, clips: list[Clip], loss: str) -> None:
        self.network, self.clips, self.loss = network, clips, loss
        self.module = network.module()
        self.float32_norms: list[float] = []

    def at(self, length: int) -> list[LengthResult]:
        """Unclipped, and clipped in every way asked for, over sequences of one length."""
        inputs = self.network.input(length)
        try:
            unclipped = run_flow(self.network, self.module, inputs, self.loss, None)
        except (NonFiniteError, ImplementationError) as error:  # some models run at one length alone
            return [
                LengthResult(self.network.name, length, str(clip), problem=str(error)) for clip in self.clips
            ]
        with their_errors(self.network, inputs):
            float32 = float32_gradient(self.module, inputs, loss_function(self.loss, self.network))
        self.float32_norms.append(float32.unclipped_norm())
        return [self._result(length, clip, inputs, unclipped, float32) for clip in self.clips]

    def _result(
        self, length: int, clip: Clip, inputs: Any, unclipped: GradientFlow, float32: Float32Gradient
    ) -> LengthResult:
        if clip.works_on_states:
            try:
                flow = run_flow(self.network, self.module, inputs, self.loss, clip)
            except NonFiniteError as error:
                return LengthResult(self.network.name, length, str(clip), problem=str(error))
            report = cast(ClipReport, flow.clip)  # a flow that was clipped has one
        else:
            flow = unclipped
            _, report = clip.clip(unclipped.gradients, dict(self.module.named_parameters()))
        return LengthResult(
            network=self.network.name,
            length=length,
            clip=str(clip),
            log10_parameters=report.log10_after,
            log10_unclipped=report.log10_before,
            log10_first=float(last_layer(flow).log10_norm[-1]),
            float32_parameters=float32.norm(clip, self.float32_norms),
            float32_first=None if clip.works_on_states else float32.first_step,
            cosine=report.cosine,
            touched=report.entries,
        )
