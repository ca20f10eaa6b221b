"""Running on one's own predictions: the forecast proper, and the only test that shows whether it was learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.forecast.model import Forecaster


@torch.no_grad()
def state_after(model: Forecaster, before: Tensor, state: Any) -> Any:
    """The hidden state after `before` `(T + 1,)`, read as training reads a window: all points but the last.

    `state` is what training left, of which the first sample is used; None for zeros.
    """
    if isinstance(state, tuple):
        state = tuple(part[:, :1] for part in state)
    elif state is not None:
        state = state[:, :1]
    return model(before[:-1].view(1, -1, 1), state)[1]


@torch.no_grad()
def closed_loop(model: Forecaster, window: Tensor, state: Any, warm_up: int = 1) -> np.ndarray:
    """Predictions `(T,)` of all points of `window` `(T + 1,)` but the first.

    The first `warm_up` points are fed as they are; from there on each prediction is the next input. `state` is
    the hidden state of one sample to begin with; None for zeros.
    """
    predictions, state = model(window[:warm_up].view(1, -1, 1), state)
    last = predictions[:, -1:]
    found = [predictions]
    for _ in range(len(window) - 1 - warm_up):
        last, state = model(last, state)
        found.append(last)
    return torch.cat(found, dim=1).flatten().cpu().double().numpy()


def rmse(predictions: np.ndarray, window: np.ndarray, warm_up: int = 1) -> float:
    """Root mean square error of the predictions from the last point of the warm-up on."""
    with np.errstate(over="ignore"):
        errors = (predictions - window[1:])[warm_up - 1 :]
        return float(np.sqrt(np.mean(errors**2)))
