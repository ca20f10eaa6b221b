"""What one training run left behind, and the figures drawn from it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from unrolled.forecast.autonomous import autonomous_spectrum, driven_with
from unrolled.forecast.autonomous_record import Autonomous
from unrolled.forecast.checks import check_run
from unrolled.forecast.closed_loop import closed_loop, rmse
from unrolled.forecast.model import network_of
from unrolled.forecast.outcome import final_loss, largest_spike, outcome
from unrolled.forecast.setting import Setting
from unrolled.forecast.signals import CHAOTIC
from unrolled.forecast.training import COLUMNS, Mark, Training
from unrolled.gradients.clipping import Clip
from unrolled.results.codec import IF_NOT_DEFAULT, UNSAVED, Positive


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run. `history` `(iterations done, 6)` has `training.COLUMNS`.

    `window` `(T + 1,)` are the true points of the closed loop. `predictions` and `warmed` `(T,)` are those of
    the network after one and after `warm_up` of them, each begun with the hidden state that training left; None
    for recall, which has `accuracy` in their place: the share of symbols that it names. `problem` says where a
    loss or gradient was not finite. `autonomous` has the exponents of the closed loop, where they
    were asked for and the training came to its end. `seconds` is the training's time in this process; it is shown and
    never written to a file. `weights` is a fingerprint of the final ones.
    """

    setting: Setting
    network: str
    history: np.ndarray
    marks: tuple[Mark, ...]
    constant_loss: Positive
    problem: str
    weights: str
    window: np.ndarray | None = None
    predictions: np.ndarray | None = None
    warmed: np.ndarray | None = None
    accuracy: float = math.nan
    autonomous: Autonomous | None = field(default=None, metadata=IF_NOT_DEFAULT)
    seconds: float = field(default=math.nan, metadata=UNSAVED)

    def check(self) -> None:
        """Raise `ValueError` for what no training leaves."""
        check_run(self)

    @classmethod
    def of(cls, training: Training, seconds: float, exponents: int = 0) -> Run:
        """What a finished training amounts to, with so many exponents of its closed loop."""
        setting, task = training.setting, training.task
        # Where it stopped there is a loss, and no finite gradient: that iteration was not done, and is kept.
        rows = training.iteration + (1 if training.problem else 0)
        loops: dict[str, Any] = {}
        if task.window is None:
            loops["accuracy"] = _accuracy(training)
        else:
            loops["window"] = task.window.cpu().double().numpy()
            loops["predictions"] = closed_loop(training.model, task.window, training.state)
            loops["warmed"] = closed_loop(training.model, task.window, training.state, setting.warm_up)
            if exponents and not training.problem:
                loops["autonomous"] = autonomous_spectrum(training.model, driven_with(task), k=exponents)
        return cls(
            setting=setting,
            network=network_of(setting, task.inputs.shape[-1]).name,
            history=training.history[:rows],
            marks=tuple(training.marks),
            constant_loss=task.constant_loss,
            problem=training.problem,
            weights=fingerprint(training.model),
            seconds=seconds,
            **loops,
        )

    @property
    def labels(self) -> dict[str, Any]:
        """The columns that every frame begins with; network and clip together are the variant."""
        return {"network": self.network, "clip": self.setting.clip, "seed": self.setting.seed}

    def row(self) -> dict[str, Any]:
        """The figures of the table; norms are those before clipping, of iterations where they are finite."""
        losses = self.column("loss")
        with np.errstate(over="ignore"):  # those of a bound at every step may be beyond float64
            norms = 10 ** self.column("log10_norm")
        norms = norms[np.isfinite(norms)]
        touched = self.column("touched")
        p50, p90, p99, most = np.percentile(norms, [50, 90, 99, 100]) if len(norms) else [math.nan] * 4
        return {
            **self.labels,
            "iterations": len(losses),
            "final_loss": final_loss(losses),
            "constant_loss": self.constant_loss,
            "largest_spike": largest_spike(losses),
            "outcome": outcome(losses, self.constant_loss, bool(self.problem)),
            "rmse": self._rmse(self.predictions, 1),
            "rmse_warm": self._rmse(self.warmed, self.setting.warm_up),
            "accuracy": self.accuracy,
            "norm_median": p50,
            "norm_p90": p90,
            "norm_p99": p99,
            "norm_max": most,
            "fired": float(np.mean(touched[np.isfinite(touched)] > 0))
            if np.isfinite(touched).any()
            else math.nan,
            "cosine": float(np.nanmean(self.column("cosine"))) if np.isfinite(touched).any() else math.nan,
            "weights": self.weights,
            "problem": self.problem,
        }

    def column(self, name: str) -> np.ndarray:
        """One column of the history."""
        found: np.ndarray = self.history[:, COLUMNS.index(name)]
        return found

    def _rmse(self, predictions: np.ndarray | None, warm_up: int) -> float:
        return (
            math.nan if predictions is None or self.window is None else rmse(predictions, self.window, warm_up)
        )

    def history_frame(self) -> pd.DataFrame:
        """A row per iteration, from 1; `bounds_norm` where `bound` is one on the global norm."""
        frame = pd.DataFrame(self.history, columns=list(COLUMNS))
        frame["bounds_norm"] = Clip.parse(self.setting.clip).rule.bounds_norm
        return _labelled(self.labels | {"iteration": np.arange(1, len(frame) + 1)}, frame)

    def loop_frame(self) -> pd.DataFrame:
        """A row per point of the closed loop but the first."""
        if self.window is None:
            return pd.DataFrame()
        steps = np.arange(1, len(self.window))
        columns = {"truth": self.window[1:], "prediction": self.predictions, "warmed_up": self.warmed}
        return _labelled(self.labels | {"warm_up": self.setting.warm_up, "step": steps}, pd.DataFrame(columns))

    def exponents_frame(self) -> pd.DataFrame:
        """A row per closed loop and exponent, in nats per step and per unit of time, beside the truth's."""
        if self.autonomous is None:
            return pd.DataFrame()
        frame = self.autonomous.frame()
        observed = CHAOTIC.get(self.setting.signal)
        known = dict(enumerate(observed.system.exponents, start=1)) if observed else {}
        frame["per_time"] = frame["exponent"] / (observed.interval if observed else 1.0)
        frame["true_per_time"] = frame["index"].map(known).astype(float)
        return _labelled(self.labels, frame)

    def reach_frame(self) -> pd.DataFrame:
        """A row per mark, layer, path and step."""
        parts = [
            _labelled(self.labels | {"iteration": mark.iteration}, mark.flow.frame())
            for mark in self.marks
            if mark.flow is not None
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _labelled(labels: dict[str, Any], frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with some columns in front."""
    for place, (name, value) in enumerate(labels.items()):
        frame.insert(place, name, value)
    return frame


def fingerprint(model: nn.Module) -> str:
    """The same for two models only if all their weights are the same, bit for bit."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


@torch.no_grad()
def _accuracy(training: Training) -> float:
    """The share of symbols that are named rightly; there is one sequence for each, so this is exact."""
    prediction, _ = training.model(training.task.inputs)
    return float((prediction[:, -1].argmax(-1) == training.task.targets).float().mean())
