"""The Lyapunov exponents of a forecaster that runs on its own predictions: is it the system that it was shown?

Pathak, Lu, Hunt, Girvan, Ott (2017) ask it of reservoirs; Vlachas et al. (2020) of GRUs and LSTMs.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.checks import check_size
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.forecast.autonomous_record import Autonomous
from unrolled.forecast.model import Forecaster
from unrolled.forecast.task import Task
from unrolled.spectrum.lyapunov import check_k
from unrolled.spectrum.step_spectrum import step_lyapunov_spectrum

STEPS = 1000  # predictions that the exponents are means over: with LOOPS, 0.42 of Hénon's map to 0.004
TRANSIENT = 500  # predictions left out before: to come to the attractor
TURNED = 100  # the last of these, in which the tangents turn into their directions
LOOPS = 16  # that a training is followed by, begun at different places: they cost about as much as one
FAR = 1e6  # times the largest true point: a loop that comes so far will not come back

Parts = tuple[Tensor, ...]


class ClosedLoop:
    """A forecaster as a map `state -> next state`, in which each prediction is the next input.

    The state is that of all recurrent layers alone: a tensor `(B, L, H)`, or two of these for an LSTM. The last
    prediction is read out of it, so it is no state of its own. A state (h, prediction) would have the same exponents,
    and one of -inf for each number that is predicted: its Jacobian is that of h with rows that depend on the others.

    It is a copy in float64 on the CPU, as tangents are, of the weights that training left.
    """

    def __init__(self, model: Forecaster) -> None:
        self.model = copy.deepcopy(model).double().cpu().requires_grad_(False).eval()

    def states(self, window: Tensor) -> Parts:
        """The state after the true points `(B, T)`, begun at 0."""
        _, state = self.model(window.double().cpu().unsqueeze(-1))
        return _swapped(_parts(state))

    def predict(self, parts: Parts) -> Tensor:
        """The prediction `(B, 1)` of a state: read out of the last layer."""
        prediction: Tensor = self.model.readout(parts[0][:, -1])
        return prediction

    def advance(self, parts: Parts) -> Parts:
        """The next state: the prediction of this one is fed."""
        state = _swapped(parts)
        _, state = self.model(self.predict(parts).unsqueeze(1), state if len(state) > 1 else state[0])
        return _swapped(_parts(state))

    def step(self, _: Tensor, state: Any) -> Any:
        """The same in the form of `step_lyapunov_spectrum`; the input is not looked at."""
        after = self.advance(_parts(state))
        return after if isinstance(state, tuple) else after[0]


@torch.no_grad()
def autonomous_spectrum(
    model: Forecaster, window: Tensor, *, k: int | None = None, steps: int = STEPS, transient: int = TRANSIENT
) -> Autonomous:
    """The `k` largest exponents (all by default) of `model` in a closed loop, in nats per step, a prediction each.

    `window` `(T,)` or `(B, T)` holds true points that the network is driven with first, from a state of 0; a loop
    begins after each row of it. The first `transient` predictions are left out, the exponents are means over
    `steps` after them: `step_lyapunov_spectrum` of `ClosedLoop`, with its interval between factorisations.

    A loop that meets NaN or inf, or comes `FAR`, has exponents of NaN, and is said to blow up.

    Raises `InvalidTypeError` or `InvalidValueError` for what is no forecaster of one number, no true points, or no
    number of exponents.
    """
    rows = _checked(model, window)
    check_size("steps", steps)
    check_size("transient", transient)
    loop = ClosedLoop(model)
    start = loop.states(rows)
    size = sum(part[0].numel() for part in start)
    check_k(k, size)
    if steps < 2:
        raise InvalidValueError(f"steps: expected at least 2, got {steps}, too few for a rate; try {STEPS}")
    turned = min(TURNED, transient)
    after, before = _followed(loop, start, transient - turned)
    _, run = _followed(loop, after, turned + steps)
    limit = FAR * float(rows.abs().max().clamp(min=1.0))
    bounded = (np.abs(np.vstack([before, run])) <= limit).all(0)  # which no NaN is
    values = np.full((len(rows), k or size), np.nan)
    if bounded.any():
        begin = tuple(part[torch.from_numpy(bounded)] for part in after)
        values[bounded] = _exponents(loop, begin, turned, steps, k)
    late = np.where(bounded, run[turned + steps // 2 :], np.nan)
    return Autonomous(values, np.ptp(late, axis=0), float(rows.double().std(correction=0)), steps, transient)


def driven_with(task: Task) -> Tensor:
    """The stretches `(B, T)` that loops of a training are begun after: `LOOPS` of its windows, all over the series."""
    count = min(LOOPS, len(task.inputs))
    return task.inputs[torch.linspace(0, len(task.inputs) - 1, count).round().long(), :, 0]


def _exponents(loop: ClosedLoop, begin: Parts, turned: int, steps: int, k: int | None) -> np.ndarray:
    """`(B, k)` of loops that stay finite."""
    nothing = torch.zeros(turned + steps, len(begin[0]), 1, dtype=torch.float64)
    state = begin if len(begin) > 1 else begin[0]
    found = step_lyapunov_spectrum(loop.step, nothing, state, k=k, warm_up=turned, name="closed loop")
    return found.parts[0].values


def _followed(loop: ClosedLoop, parts: Parts, steps: int) -> tuple[Parts, np.ndarray]:
    """The state after so many steps, and the predictions `(steps, B)` on the way."""
    found = [torch.zeros(0, len(parts[0]), dtype=torch.float64)]
    for _ in range(steps):
        parts = loop.advance(parts)
        found.append(loop.predict(parts).view(1, -1))
    return parts, torch.cat(found).numpy()


def _parts(state: Any) -> Parts:
    return state if isinstance(state, tuple) else (state,)


def _swapped(parts: Parts) -> Parts:
    """From torch's layers first, `(L, B, H)`, to samples first, or back."""
    return tuple(part.transpose(0, 1).contiguous() for part in parts)


def _checked(model: object, window: object) -> Tensor:
    """The true points as rows `(B, T)`; raises unless they and the model fit."""
    if not isinstance(model, Forecaster):
        raise InvalidTypeError(f"model: expected a Forecaster, got {type(model).__name__}; wrap it in one")
    sizes = (getattr(model.recurrent, "input_size", 1), model.readout.out_features)
    if sizes != (1, 1):
        raise InvalidValueError(
            f"model: expected one number in and one out, got {sizes[0]} and {sizes[1]}; the loop feeds one back"
        )
    if not isinstance(window, Tensor) or window.dim() not in (1, 2) or not window.numel():
        got = tuple(window.shape) if isinstance(window, Tensor) else type(window).__name__
        raise InvalidValueError(f"window: expected true points (T,) or (B, T), got {got}; reshape it")
    if not bool(torch.isfinite(window).all()):
        raise InvalidValueError("window: expected finite points, got NaN or inf; clean the series")
    return window.view(-1, window.shape[-1])
