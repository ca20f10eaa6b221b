"""What a finished training must have left, whatever was learnt: the check of a run that is read from a file."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from unrolled.forecast.model import network_of
from unrolled.forecast.setting import Setting
from unrolled.forecast.signals import CSV, NAMED
from unrolled.forecast.task import forecasting
from unrolled.forecast.training import COLUMNS, marks_of
from unrolled.gradients.clipping import Clip
from unrolled.gradients.clipping.report import SLACK
from unrolled.gradients.flow import GradientFlow
from unrolled.results.codec import require
from unrolled.rollout.scaled import check_logs

if TYPE_CHECKING:
    from unrolled.forecast.autonomous_record import Autonomous
    from unrolled.forecast.record import Run

FARTHEST = 1e9  # standard deviations from the mean: a series with such a point has 10^18 of them
ROUNDING = 1e-3  # of functions of late times, on another processor
MOST_DECADES = 60  # of a norm of numbers in float32, each at most 10^38


def check_run(run: Run) -> None:
    """Raise `ValueError` for what no training leaves."""
    setting = run.setting
    symbols = setting.symbols
    sizes = (setting.num_layers, setting.hidden_size, setting.hidden_size + setting.batch_size * setting.length)
    require(math.prod(sizes) < 2**63, "sizes that a machine can hold")
    require(setting.seed >= 0 and _is_signal(setting), f"a signal, got {setting.signal!r}")
    name = network_of(setting, 1 if symbols is None else symbols + 2).name
    require(run.network == name, f"the network {name}")
    require(re.fullmatch("[0-9a-f]{16}", run.weights) is not None, "a fingerprint of the weights")
    require(run.constant_loss < FARTHEST**2, "the loss of a constant")
    done = check_history(setting, run.history, run.problem)
    require(
        done == setting.iterations or (done < setting.iterations and bool(run.problem)),
        f"{setting.iterations} iterations",
    )
    require(
        [mark.iteration for mark in run.marks] == marks_of(done, bool(run.problem)), "marks where they are due"
    )
    for mark in run.marks:
        if mark.flow is not None:
            check_flow(mark.flow, setting)
    if run.autonomous is not None:
        _check_autonomous(run, run.autonomous)
    if symbols is None:
        _check_loops(run)
    else:
        loops = (run.window, run.predictions, run.warmed)
        require(all(loop is None for loop in loops), "no closed loop of a recall")
        named = run.accuracy * symbols
        require(0 <= run.accuracy <= 1 and abs(named - round(named)) < 1e-3, f"a share of {symbols} symbols")
        require(math.isclose(run.constant_loss, math.log(symbols), rel_tol=1e-6), f"the loss log {symbols}")


def _is_signal(setting: Setting) -> bool:
    file, _, column = setting.signal.removeprefix(CSV).rpartition(":")
    csv = setting.signal.startswith(CSV) and bool(file) and bool(column)
    return setting.symbols is not None or setting.signal in NAMED or csv


def check_history(setting: Setting, history: np.ndarray, problem: str) -> int:
    """Raise `ValueError` unless iterations can have done this, the last one with `problem`; gives their number."""
    require(history.ndim == 2 and history.shape[1:] == (len(COLUMNS),), f"a history of {', '.join(COLUMNS)}")
    require(history.dtype == float, "a history of decimals")
    done = len(history) - bool(problem)
    if problem:
        require(problem.startswith(f"iteration {done + 1}: "), f"a problem in iteration {done + 1}")
        require(np.isnan(history[done, 1:]).all() and not history[done, 0] < 0, "no gradient where it stopped")
    loss, before, after, touched, cosine, bound = history[:done].T
    require((loss >= 0).all(), "losses of at least 0")
    rule = Clip.parse(setting.clip).rule
    if done:
        check_logs(np.concatenate([before, after]), 1, "norms")
        # A bound at every step works on gradients with exponents of their own.
        small = np.where(np.isfinite(before), np.abs(before), 0) <= MOST_DECADES
        require(rule.works_on_states or small.all(), "norms that float32 holds")
    require(((touched >= 0) & (touched <= 1)).all(), "shares that clipping changed")
    require((np.abs(cosine) <= 1).all(), "cosines")
    same = (before == after) | (np.abs(np.where(np.isfinite(before), before, 0) - after) <= SLACK)
    require(same[touched == 0].all(), "the same norm where nothing was changed")
    require((cosine[touched == 0] >= 1 - SLACK).all(), "the same direction where nothing was changed")
    require(rule.works_on_states or (after <= before + SLACK).all(), "norms that clipping made no larger")
    if not (rule.works_on_gradients or rule.works_on_states):
        require((touched == 0).all() and np.isnan(bound).all(), "no clip")
    elif rule.name != "auto":
        require((bound == rule.bound).all(), f"the bound {rule.bound:g}")
    else:
        require(
            (np.isnan(bound) | ((bound >= 0) & (bound <= 10.0**MOST_DECADES))).all(), "bounds of at least 0"
        )
    return done


def check_flow(flow: GradientFlow, setting: Setting) -> None:
    """Raise `ValueError` unless it is one back through the network of this setting, over one sequence."""
    steps = setting.length - (setting.symbols is None)
    paths = ("h", "c") if setting.cell == "lstm" else ("h",)
    labels = {("recurrent", 0, k, "forward", path) for k in range(setting.num_layers) for path in paths}
    found = {(p.module, p.call, p.layer, p.direction, p.path) for p in flow.profiles}
    require(found == labels, f"profiles of {setting.num_layers} layers")
    require(flow.clip is None, "a flow without a clip")
    for profile in flow.profiles:
        require(profile.steps == steps, f"profiles of {steps} steps")
        profile.check_batch(1)
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [f"recurrent.{kind}_l{k}" for k in range(setting.num_layers) for kind in kinds]
    require(set(flow.parameters) == {*weights, "readout.weight", "readout.bias"}, "norms of all parameters")


def _check_loops(run: Run) -> None:
    steps = run.setting.length - 1
    for points, size in ((run.window, steps + 1), (run.predictions, steps), (run.warmed, steps)):
        require(points is not None and points.dtype == float and points.shape == (size,), f"{size} points")
    window = np.asarray(run.window)
    require((np.abs(window) <= FARTHEST).all(), "a series of finite points")
    require(math.isnan(run.accuracy), "no accuracy of a forecast")
    if run.setting.signal in NAMED:
        task = forecasting(run.setting.signal, run.setting.length)
        require(np.allclose(window, np.asarray(task.window), atol=ROUNDING), f"the {run.setting.signal}")
        require(math.isclose(run.constant_loss, task.constant_loss, rel_tol=ROUNDING), "the loss of a constant")


def _check_autonomous(run: Run, found: Autonomous) -> None:
    require(run.setting.symbols is None and not run.problem, "no exponents where no closed loop runs freely")
    require(found.values.shape[1] <= run.setting.state_size, f"at most {run.setting.state_size} exponents")
