"""Advice for the training of a forecaster: one of the settings of `unrolled forecast`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unrolled.advising.case import Case, flossed, start_of
from unrolled.advising.change import Change, Diagnosis, Outcome
from unrolled.errors import InvalidValueError
from unrolled.forecast.model import network_of
from unrolled.forecast.outcome import final_loss, outcome
from unrolled.forecast.setting import Setting
from unrolled.forecast.training import Training


@dataclass(frozen=True)
class OnForecast(Case):
    """`setting`, from other seeds."""

    setting: Setting

    @property
    def title(self) -> str:  # type: ignore[override]
        """The network, and its clip."""
        clip = "" if self.setting.clip == "none" else f", {self.setting.clip}"
        return f"{network_of(self.setting, 1).name}{clip}"

    @property
    def goal(self) -> str:  # type: ignore[override]
        """To converge."""
        return f"to converge on {self.setting.describe()}"

    @property
    def cell(self) -> str:  # type: ignore[override]
        """That of the setting."""
        return self.setting.cell

    def can(self, kind: str) -> bool:
        """Whatever it does not have yet."""
        setting = self.setting
        if kind == "clip":
            return setting.clip == "none"
        if kind == "floss":
            return self.cell in ("rnn_tanh", "gru")
        return not (kind == "init" and setting.init == "orthogonal" and setting.gain == 1.0)

    def diagnose(self) -> Diagnosis:
        """Over the first window, from a state of 0; a recall needs all of it, and of a signal nobody knows."""
        needs = None if self.setting.symbols is None else self.setting.length - 1
        training = Training(self.setting)
        try:
            return Diagnosis.of(training._flow(), needs)
        except InvalidValueError as error:
            return Diagnosis("none", float("nan"), None, needs, self.setting.length, str(error))

    def train(self, seed: int, change: Change | None) -> Outcome:
        """As `unrolled forecast` trains it."""
        training = Training(self._changed(seed, change))
        if change is not None and change.kind == "floss":
            recurrent: Any = training.model.recurrent
            flossed(recurrent, training.task.inputs.transpose(0, 1))
        training.run()
        losses = training.history[: training.iteration + bool(training.problem), 0]
        word = outcome(losses, training.task.constant_loss, bool(training.problem))
        return Outcome(word == "converged", training.iteration, final_loss(losses), training.problem)

    def _changed(self, seed: int, change: Change | None) -> Setting:
        setting = self.setting.replace(seed=seed)
        if change is not None and change.kind == "clip":
            return setting.replace(clip=change.value)
        cell, init = start_of(change)
        if init is None:
            return setting
        start: dict[str, Any] = {"init": str(init), "gain": 1.0, "forget_bias": None, "init_std": None}
        return setting.replace(cell=cell or setting.cell, **start)
