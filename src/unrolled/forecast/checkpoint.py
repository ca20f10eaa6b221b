"""A study as far as it has come, in a file of tensors and plain values, so that it goes on where it was."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from unrolled.errors import InvalidValueError
from unrolled.forecast.setting import Setting
from unrolled.forecast.training import MARKS, Mark, Training
from unrolled.gradients.flow import GradientFlow
from unrolled.results.codec import decode, encode
from unrolled.results.record import write_atomically

FORMAT = "unrolled.forecast.checkpoint"
VERSION = 1
SAVE_EVERY = 2.0  # seconds of training that an interruption may lose


class Checkpoint:
    """The file `path`: read when made, written now and then.

    It holds the settings and, for each run begun, the weights, the optimizer's state, the hidden state that is
    carried, the norms that `auto` has seen, the history and the reach. The order of the data is drawn from the
    seed alone, so with the number of iterations done it is known too. It is loaded with `weights_only=True`.

    Raises `InvalidValueError` for a file that is something else, or of other settings. A larger number of
    iterations is no other setting: the run goes on to it.
    """

    def __init__(self, path: Path, settings: Sequence[Setting]) -> None:
        self.path = path
        self.settings = [encode(setting) for setting in settings]
        self._runs: list[dict[str, Any] | None] = [None] * len(settings)
        self._saved = perf_counter()
        if path.exists():
            self._runs = self._read()
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise self._unwritable(error) from error

    def is_due(self, now: float) -> bool:
        """Whether it is time to save."""
        return now - self._saved >= SAVE_EVERY

    def restore(self, k: int, training: Training) -> None:
        """Put the k-th run where it was saved; leave it at its start where it was not."""
        saved = self._runs[k]
        if saved is None:
            return
        training.model.load_state_dict(saved["model"])
        training.optimizer.load_state_dict(saved["optimizer"])
        parts = tuple(part.to(training.setting.device) for part in saved["state"])
        training.state = parts if len(parts) > 1 else parts[0] if parts else None
        training.clip.history[:] = saved["clip_history"].tolist()
        history = saved["history"].numpy()
        training.history[: len(history)] = history
        training.iteration = saved["iteration"]
        training.problem = saved["problem"]
        # The mark at the end of a shorter run is none of a longer one's.
        training.marks = [
            mark for mark in map(_mark, saved["marks"]) if mark.iteration in MARKS or training.finished
        ]

    def save(self, k: int, training: Training) -> None:
        """Take over where the k-th run is now, and replace the file in one step."""
        state = training.state
        done = training.iteration + bool(training.problem)
        self._runs[k] = {
            "iteration": training.iteration,
            "problem": training.problem,
            "model": {name: value.clone() for name, value in training.model.state_dict().items()},
            "optimizer": training.optimizer.state_dict(),
            "state": list(state if isinstance(state, tuple) else () if state is None else (state,)),
            "history": torch.from_numpy(training.history[:done].copy()),
            "clip_history": torch.tensor(training.clip.history, dtype=torch.float64),
            "marks": [_saved_mark(mark) for mark in training.marks],
        }
        content = {
            "format": FORMAT,
            "version": VERSION,
            "settings": json.dumps(self.settings),
            "runs": self._runs,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        try:
            write_atomically(self.path, buffer.getvalue())
        except OSError as error:
            raise self._unwritable(error) from error
        self._saved = perf_counter()

    def _unwritable(self, error: OSError) -> InvalidValueError:
        return InvalidValueError(
            f"checkpoint: expected a file that can be written, got {self.path} ({error.strerror}); "
            "choose another"
        )

    def _read(self) -> list[dict[str, Any] | None]:
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise InvalidValueError(
                f"checkpoint: expected a file, got {self.path} ({error.strerror}); name another"
            ) from error
        except Exception as error:  # torch, pickle and zipfile have many ways of saying no
            raise InvalidValueError(
                f"checkpoint: expected what this command saved, got something else in {self.path} "
                f"({type(error).__name__}); name another file"
            ) from error
        if not isinstance(found, dict) or (found.get("format"), found.get("version")) != (FORMAT, VERSION):
            raise InvalidValueError(
                f"checkpoint: expected what this command saved, version {VERSION}, got something else in "
                f"{self.path}; name another file"
            )
        problem = self._misfit(json.loads(found["settings"]), found["runs"])
        if problem:
            raise InvalidValueError(
                f"checkpoint: expected the training of these options, got one with {problem} in {self.path}; "
                "use its options, or name another file"
            )
        runs: list[dict[str, Any] | None] = found["runs"]
        return runs

    def _misfit(self, saved: list[dict[str, Any]], runs: list[dict[str, Any] | None]) -> str:
        """The first thing in which the saved settings are others, or nothing."""
        if len(saved) != len(self.settings):
            return f"{len(saved)} runs in place of {len(self.settings)}"
        for theirs, ours, run in zip(saved, self.settings, runs, strict=True):
            for name in ours:
                if name != "iterations" and theirs.get(name) != ours[name]:
                    return f"{name} {theirs.get(name)} in place of {ours[name]}"
            if run is not None and run["iteration"] > ours["iterations"]:
                return f"{run['iteration']} iterations done, beyond the {ours['iterations']} asked for,"
        return ""


def _saved_mark(mark: Mark) -> dict[str, Any]:
    flow = None if mark.flow is None else json.dumps(encode(mark.flow))
    return {"iteration": mark.iteration, "problem": mark.problem, "flow": flow}


def _mark(saved: dict[str, Any]) -> Mark:
    flow = None if saved["flow"] is None else decode(GradientFlow, json.loads(saved["flow"]))
    return Mark(saved["iteration"], flow, saved["problem"])
