"""Weights from a file, and no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import InvalidValueError


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Fill `model` with the weights in `path`: a state dict, or a dict that holds one as `state_dict`.

    Only tensors are read, never pickled code. Raises `InvalidValueError` when there are none, or they are
    not this model's.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InvalidValueError(
            f"checkpoint: expected a file, got {path} ({error.strerror}); name one that torch.save wrote"
        ) from error
    except Exception as error:  # torch, pickle and zipfile have many ways of saying no
        raise InvalidValueError(
            f"checkpoint: expected weights that torch.save wrote, got something else in {path} "
            f"({type(error).__name__}); save model.state_dict() and nothing besides"
        ) from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise InvalidValueError(
            f"checkpoint: expected a state dict, got {type(found).__name__} with other things than tensors "
            f"in {path}; save model.state_dict()"
        )
    problem = _misfit(model.state_dict(), found)
    if problem:
        raise InvalidValueError(
            f"checkpoint: expected the weights of this {type(model).__name__}, got {problem} in {path}; "
            "choose the cell and sizes that it was saved from"
        )
    model.load_state_dict(found)


def _misfit(own: dict[str, Any], found: dict[str, Any]) -> str:
    """The first thing that does not fit, or nothing."""
    for name, value in own.items():
        if name not in found:
            return f"no {name}"
        if value.shape != found[name].shape:
            return f"{name} of shape {tuple(found[name].shape)} for {tuple(value.shape)}"
    unknown = [name for name in found if name not in own]
    return f"{unknown[0]}, which it does not have," if unknown else ""
