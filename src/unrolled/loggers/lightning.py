"""The gradient flow in the loggers of a Lightning `Trainer`."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from typing import Any

from torch import nn

from unrolled.extras import need
from unrolled.loggers.entry import IMAGE, Entry
from unrolled.loggers.steps import StepWatch
from unrolled.rollout.targets import Cells

NAMES = ("lightning.pytorch", "pytorch_lightning")  # one package under two names, each with a class of its own


def _callback() -> Any:
    """Lightning's `Callback`: of the package that is in use, else of one that is installed."""
    used = [name for name in NAMES if sys.modules.get(name)]
    installed = [name for name in NAMES if find_spec(name.partition(".")[0]) is not None]
    name = next(iter(used or installed), "lightning")
    return need(name, extra="loggers", why="LightningCallback").Callback


Callback: Any = _callback()


class LightningCallback(Callback):  # type: ignore[misc]
    """Log the gradient flow of every `every`-th optimiser step, the first included, to all loggers of the `Trainer`.

        Trainer(logger=TensorBoardLogger("runs"), callbacks=[unrolled.loggers.LightningCallback(every=50)])

    Scalars go to every logger; every `image_every`-th time an image of the norms over lag goes to those that take
    images, as `TensorBoardLogger` and `WandbLogger` do (0: none). Steps are numbered as Lightning numbers those of the
    loss. `cells` names cells that are not torch's own. See `unrolled.loggers` for what is promised.

    Raises `InvalidValueError` when the training starts and the model has no recurrent layer.
    """

    def __init__(self, every: int = 50, *, image_every: int = 10, cells: Cells = ()) -> None:
        super().__init__()
        self._steps = StepWatch(every, image_every, cells)
        self._taken = 0  # optimiser steps, when the one that is watched began

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Refuse a model that has nothing to watch, before it is trained."""
        self._steps.check(pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: nn.Module, batch: Any, batch_idx: int) -> None:
        """Watch the step that begins, if it is due."""
        step = _step(trainer)
        if trainer.is_global_zero and trainer.loggers and self._steps.due(step):
            self._taken = trainer.global_step
            self._steps.begin(pl_module, step, _loss_scale(trainer))

    def on_train_batch_end(
        self, trainer: Any, pl_module: nn.Module, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log it, once it is taken."""
        if trainer.global_step > self._taken:
            self._steps.end(partial(_send, trainer, _step(trainer)))

    def on_train_end(self, trainer: Any, pl_module: nn.Module) -> None:
        """Take every hook off the model."""
        self._steps.close()

    def on_exception(self, trainer: Any, pl_module: nn.Module, exception: BaseException) -> None:
        """Take every hook off the model."""
        self._steps.close()


def _step(trainer: Any) -> int:
    """The number under which Lightning logs the loss of this step; its own callbacks ask for it in this way."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def _loss_scale(trainer: Any) -> float:
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return 1.0 if scaler is None else float(scaler.get_scale())


def _send(trainer: Any, step: int, entry: Entry, with_image: bool) -> None:
    scalars = entry.scalars()
    for logger in trainer.loggers:
        logger.log_metrics(scalars, step=step)
    takers = [taker for taker in map(_image_taker, trainer.loggers) if taker is not None] if with_image else []
    if takers:
        image = entry.image()
        for taker in takers:
            taker(image, step)


def _image_taker(logger: Any) -> Any:
    """How this logger takes an image `(height, width, 3)` at a step; None where it takes none."""
    if hasattr(logger, "log_image"):  # Weights & Biases, and who does as it does
        return lambda image, step: logger.log_image(IMAGE, [image], step=step)
    if hasattr(logger.experiment, "add_image"):  # a SummaryWriter
        return lambda image, step: logger.experiment.add_image(IMAGE, image, step, dataformats="HWC")
    return None
