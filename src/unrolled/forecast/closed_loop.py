"""Running on one's own predictions: the forecast proper, and the only test that shows whether it was learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.forecast.model import Forecaster


@torch.no_grad()
def closed_loop(model: Forecaster, window: Tensor, state: Any, warm_up: int = 1) -> np.ndarray:
    """Predictions `(T,)` of all points of `window` `(T + 1,)` but the first.

    It begins with `state`, the hidden state that training carried, `(L, B, H)` or two of these for an LSTM: the
    one of the first sample; None for zeros. The first `warm_up` points are fed as they are, and from there on
    each prediction is the next input.
    """
    predictions, state = model(window[:warm_up].view(1, -1, 1), _first_sample(state))
    last = predictions[:, -1:]
    found = [predictions]
    for _ in range(len(window) - 1 - warm_up):
        last, state = model(last, state)
        found.append(last)
    return torch.cat(found, dim=1).flatten().cpu().double().numpy()


def _first_sample(state: Any) -> Any:
    """The state of the first sample of a batch, contiguous as cuDNN wants it."""
    if isinstance(state, tuple):
        return tuple(map(_first_sample, state))
    return None if state is None else state[:, :1].contiguous()


def rmse(predictions: np.ndarray, window: np.ndarray, warm_up: int = 1) -> float:
    """Root mean square error of the predictions from the last point of the warm-up on."""
    with np.errstate(over="ignore"):
        errors = (predictions - window[1:])[warm_up - 1 :]
        return float(np.sqrt(np.mean(errors**2)))
