"""The gradient flow in the logs of a Hugging Face `Trainer`."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from unrolled.extras import need
from unrolled.loggers.entry import IMAGE, Entry
from unrolled.loggers.steps import StepWatch
from unrolled.rollout.targets import Cells

TrainerCallback: Any = need("transformers", extra="loggers", why="TransformersCallback").TrainerCallback


class TransformersCallback(TrainerCallback):  # type: ignore[misc]
    """Log the gradient flow of every `every`-th optimiser step, the first included, as the `Trainer` logs its loss.

        trainer.add_callback(unrolled.loggers.TransformersCallback(trainer, every=50))

    Scalars go through `trainer.log`, so to everything in `report_to` and to `state.log_history`; every
    `image_every`-th time an image of the norms over lag goes to TensorBoard and Weights & Biases, where `report_to`
    has them (0: none). Steps are numbered as the Trainer numbers those of the loss: the first is 1. `cells` names cells
    that are not torch's own. See `unrolled.loggers` for what is promised.

    Raises `InvalidValueError` when the training starts and the model has no recurrent layer.
    """

    def __init__(self, trainer: Any, every: int = 50, *, image_every: int = 10, cells: Cells = ()) -> None:
        self._trainer = trainer
        self._steps = StepWatch(every, image_every, cells)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Refuse a model that has nothing to watch, before it is trained."""
        self._steps.close()  # of a training that ended with an exception
        self._steps.check(self._trainer.model)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Watch the step that begins, if it is due."""
        if state.is_world_process_zero and self._steps.due(state.global_step):
            scaler = getattr(self._trainer.accelerator, "scaler", None)
            loss_scale = 1.0 if scaler is None else float(scaler.get_scale())
            self._steps.begin(self._trainer.model, state.global_step, loss_scale)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log it, now that it is taken."""
        due = control.should_log  # which `trainer.log` takes as done
        self._steps.end(partial(self._send, state.global_step))
        control.should_log = due

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take every hook off the model."""
        self._steps.close()

    def _send(self, step: int, entry: Entry, with_image: bool) -> None:
        self._trainer.log(entry.scalars())
        takers = self._image_takers(step) if with_image else []
        if takers:
            image = entry.image()
            for taker in takers:
                taker(image)

    def _image_takers(self, step: int) -> list[Any]:
        """How TensorBoard and Weights & Biases take an image `(height, width, 3)`, those that are active."""
        integrations = need("transformers.integrations", extra="loggers", why="TransformersCallback")
        takers: list[Any] = []
        for callback in self._trainer.callback_handler.callbacks:
            if isinstance(callback, integrations.TensorBoardCallback) and callback.tb_writer is not None:
                takers.append(partial(_to_tensorboard, callback.tb_writer, step))
            elif isinstance(callback, integrations.WandbCallback) and _run() is not None:
                takers.append(partial(_to_wandb, step))
        return takers


NAME = f"train/{IMAGE}"  # beside the scalars, which the integrations put there


def _run() -> Any:
    return getattr(sys.modules.get("wandb"), "run", None)


def _to_tensorboard(writer: Any, step: int, image: Any) -> None:
    writer.add_image(NAME, image, step, dataformats="HWC")


def _to_wandb(step: int, image: Any) -> None:
    _run().log({NAME: sys.modules["wandb"].Image(image), "train/global_step": step})
