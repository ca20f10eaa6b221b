"""The gradient flow in TensorBoard or Weights & Biases, from a training loop of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from unrolled.extras import need
from unrolled.gradients.clipping import ClipReport
from unrolled.gradients.flow import GradientFlow
from unrolled.gradients.watch import Watch
from unrolled.loggers.entry import IMAGE, Entry
from unrolled.loggers.steps import last_of


def log_to_tensorboard(
    writer: Any, watched: Watch, step: int, *, image_every: int = 10, loss_scale: float = 1.0
) -> bool:
    """Send a `SummaryWriter` what has been recorded since the last call; whether there was anything to send.

        with unrolled.watch(model, every=50) as watched:
            for step, batch in enumerate(data):
                loss(model(batch)).backward()
                unrolled.loggers.log_to_tensorboard(writer, watched, step)

    Call it after each step: where nothing was recorded it does nothing. Of several new records the last one is sent.
    Every `image_every`-th time an image of the norms over lag is sent too, the first included (0: none). `loss_scale`
    is that of a `GradScaler`: `scaler.get_scale()` as it was at the backward pass. What could not be recorded stands in
    `watched.history`. See `unrolled.loggers` for the rules.
    """
    unread = _unread(writer, watched)
    if unread is None:
        return False
    entry = Entry(unread.flow, loss_scale, unread.clip)
    for name, value in entry.scalars().items():
        writer.add_scalar(name, value, step)
    if unread.has_image(image_every):
        writer.add_image(IMAGE, entry.image(), step, dataformats="HWC")
    return True


def log_to_wandb(
    run: Any, watched: Watch, step: int, *, image_every: int = 10, loss_scale: float = 1.0
) -> bool:
    """Send a run of Weights & Biases, or `wandb` itself, what has been recorded since the last call.

    As `log_to_tensorboard`, in one `run.log(..., step=step)`. W&B drops what comes with a step below its last one,
    so log the loss of the same step under the same number.
    """
    unread = _unread(run, watched)
    if unread is None:
        return False
    entry = Entry(unread.flow, loss_scale, unread.clip)
    values: dict[str, Any] = dict(entry.scalars())
    if unread.has_image(image_every):
        values[IMAGE] = need("wandb", extra="loggers", why="log_to_wandb").Image(entry.image())
    run.log(values, step=step)
    return True


@dataclass
class _Bookmark:
    """How much of a watch's history one logger has had."""

    read: int = 0  # records
    sent: int = 0  # of them, those that were logged


_bookmarks: WeakKeyDictionary[Watch, WeakKeyDictionary[Any, _Bookmark]] = WeakKeyDictionary()


@dataclass(frozen=True)
class _Unread:
    """A flow that a logger has not had, what a clip would have done to it, and how many flows it has had before."""

    flow: GradientFlow
    clip: ClipReport | None
    before: int

    def has_image(self, image_every: int) -> bool:
        return image_every > 0 and self.before % image_every == 0


def _unread(logger: Any, watched: Watch) -> _Unread | None:
    if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank():
        return None
    bookmark = _bookmarks.setdefault(watched, WeakKeyDictionary()).setdefault(logger, _Bookmark())
    seen = last_of(watched.history[bookmark.read :])
    bookmark.read = len(watched.history)
    if seen is None or seen.flow is None or not Entry(seen.flow).scalars():
        return None
    bookmark.sent += 1
    clip = None if watched.clip is None else watched.clip.reports.get(seen.backward)
    return _Unread(seen.flow, clip, bookmark.sent - 1)
