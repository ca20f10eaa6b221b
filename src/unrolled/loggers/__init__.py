"""The gradient flow of a training, in the dashboard where its loss is: scalars, and an image of the norms over lag.

    Trainer(callbacks=[unrolled.loggers.LightningCallback()])               # Lightning
    trainer.add_callback(unrolled.loggers.TransformersCallback(trainer))    # Hugging Face
    unrolled.loggers.log_to_tensorboard(writer, watched, step)              # your own loop, with `unrolled.watch`
    unrolled.loggers.log_to_wandb(run, watched, step)

They all stand on `unrolled.watch` and keep its promise: weights are bit-identical to those of a training without, and
a training is never stopped; what could not be logged is said once, as a warning of Python's `logging`. And they keep
four rules. A record is logged once, under the step that it was made in; a step without a record logs nothing. A value
that is infinite or NaN is left out: the norm of a gradient that is exactly 0, the horizon of none at all. Norms are
those of the loss as it was written: a loss scale is taken out again. Only rank 0 logs; it shows its own share of the
batch, and for `gradient/log10_norm` the gradient that all ranks have averaged, before clipping.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled.loggers.lightning import LightningCallback
    from unrolled.loggers.loop import log_to_tensorboard, log_to_wandb
    from unrolled.loggers.transformers import TransformersCallback

_HOMES = {
    "LightningCallback": "unrolled.loggers.lightning",
    "TransformersCallback": "unrolled.loggers.transformers",
    "log_to_tensorboard": "unrolled.loggers.loop",
    "log_to_wandb": "unrolled.loggers.loop",
}

__all__ = ["LightningCallback", "TransformersCallback", "log_to_tensorboard", "log_to_wandb"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(
            f"module 'unrolled.loggers' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
