"""One training as a checkpoint holds it: tensors and text, from a training and back into one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import InvalidValueError
from unrolled.forecast.checks import check_flow, check_history
from unrolled.forecast.training import MARKS, Mark, Training
from unrolled.results.codec import Count, decode, encode, require
from unrolled.rollout.scaled import LOG10_2

PARTS = {"progress", "model", "optimizer", "state", "history", "clip_history"}
ADAM = {"step", "exp_avg", "exp_avg_sq"}  # what torch's Adam keeps of each parameter; its SGD keeps nothing
ROUNDING = 1e-6  # decades, of a norm that is kept as log2 and as log10


@dataclass(frozen=True)
class _Progress:
    iteration: Count
    problem: str
    marks: tuple[Mark, ...]


def saved_run(training: Training) -> dict[str, Any]:
    """Where a training is: the weights, the optimizer's and the hidden state, the norms that `auto` has seen.

    The order of the data is drawn from the seed alone, so with the number of iterations done it is known too.
    """
    done = training.iteration + bool(training.problem)
    progress = _Progress(training.iteration, training.problem, tuple(training.marks))
    return {
        "progress": json.dumps(encode(progress)),
        "model": {name: value.clone() for name, value in training.model.state_dict().items()},
        "optimizer": training.optimizer.state_dict()["state"],
        "state": list(_parts(training.state)),
        "history": torch.from_numpy(training.history[:done].copy()),
        "clip_history": torch.tensor(training.clip.history, dtype=torch.float64),
    }


def restore(saved: Any, training: Training) -> None:
    """Put a new training where it was saved.

    Raises `ValueError` for what none of its setting leaves, `InvalidValueError` where it went on for longer.
    """
    require(isinstance(saved, dict) and set(saved) == PARTS, f"a training with {', '.join(sorted(PARTS))}")
    require(isinstance(saved["progress"], str), "how far it has come, as text")
    progress = decode(_Progress, json.loads(saved["progress"]))
    done, setting = progress.iteration, training.setting
    if done > setting.iterations:
        raise InvalidValueError(
            f"checkpoint: expected at most the {setting.iterations} iterations asked for, got a training of {done}; "
            "ask for more, or name another file"
        )
    weights = training.model.state_dict()
    _check_all(saved["model"], weights, "weights")
    _check_optimizer(saved["optimizer"], training, done)
    _check_state(saved["state"], training, done)
    rows = (done + bool(progress.problem), training.history.shape[1])
    history = _checked(saved["history"], rows, torch.float64, "a history").numpy()
    require(check_history(setting, history, progress.problem) == done, f"a history of {done} iterations")
    norms = _checked(saved["clip_history"], None, torch.float64, "norms that the clip has seen").numpy()
    seen = history[:done, 1] if training.clip.mode == "auto" else history[:0, 1]
    same = norms.shape == seen.shape and np.allclose(norms * LOG10_2, seen, rtol=0, atol=ROUNDING)
    require(same, "the norms of the history as those that the clip has seen")
    due = [mark for mark in MARKS if mark < rows[0]]
    marks = [mark.iteration for mark in progress.marks]
    require(marks in (due, sorted({*due, done})), "marks where they are due")
    for mark in progress.marks:
        if mark.flow is not None:
            check_flow(mark.flow, setting)

    training.model.load_state_dict(saved["model"])
    groups = training.optimizer.state_dict()["param_groups"]
    training.optimizer.load_state_dict({"state": saved["optimizer"], "param_groups": groups})
    parts = tuple(part.to(setting.device) for part in saved["state"])
    training.state = parts if len(parts) > 1 else parts[0] if parts else None
    training.clip.history[:] = norms.tolist()
    training.history[: rows[0]] = history
    training.iteration, training.problem = done, progress.problem
    # The mark at the end of a shorter run is none of a longer one's.
    training.marks = [mark for mark in progress.marks if mark.iteration in MARKS or training.finished]


def _parts(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else () if state is None else (state,)


def _checked(found: Any, shape: tuple[int, ...] | None, dtype: torch.dtype, what: str) -> Tensor:
    """The tensor, in which inf may be, and in a history NaN; any shape where None is expected."""
    is_tensor = isinstance(found, Tensor) and found.layout == torch.strided and found.device.type == "cpu"
    require(is_tensor and found.dtype == dtype, f"{what} in {dtype}")
    require(shape is None or found.shape == shape, f"{what} of shape {shape}")
    tensor: Tensor = found.detach()
    return tensor


def _check_all(found: Any, like: Mapping[str, Tensor], what: str) -> None:
    require(isinstance(found, dict) and found.keys() == like.keys(), f"{what} {', '.join(like)}")
    for name, tensor in like.items():
        checked = _checked(found[name], tensor.shape, tensor.dtype, name)
        require(not checked.isnan().any().item(), f"{what} without NaN in {name}")


def _check_optimizer(found: Any, training: Training, done: int) -> None:
    parameters: list[nn.Parameter] = list(training.model.parameters())
    kept = len(parameters) if training.setting.optimizer == "adam" and done else 0
    require(isinstance(found, dict) and list(found) == list(range(kept)), f"an optimizer of {kept} parameters")
    for k, parameter in enumerate(parameters[:kept]):
        like = {name: torch.empty(()) if name == "step" else parameter for name in ADAM}
        _check_all(found[k], like, "the optimizer's")
        require(found[k]["step"].item() == done, f"{done} steps of the optimizer")
        require((found[k]["exp_avg_sq"] >= 0).all().item(), "mean squares of at least 0")


def _check_state(found: Any, training: Training, done: int) -> None:
    setting = training.setting
    count = (2 if setting.cell == "lstm" else 1) if training.task.carries and done else 0
    require(isinstance(found, list) and len(found) == count, f"a hidden state of {count} parts")
    shape = (setting.num_layers, setting.batch_size, setting.hidden_size)
    like = {f"part {k}": torch.empty(shape) for k in range(count)}
    _check_all({f"part {k}": part for k, part in enumerate(found)}, like, "a hidden state")
