"""Weights from a file, and no code."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import InvalidValueError
from unrolled.plugins import first_line

# Parts of a name that wrappers bring in: DataParallel and DDP, torch.compile, activation checkpointing, FSDP.
WRAPPERS = ("module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
TOP = "the top of the file"


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Fill `model` with the weights in `path`: a state dict, or what a training saved with one in it.

    The state dict is the one that fits, at the top of the file or under any key, such as `model_state_dict` or
    `model`, beside whatever else is there. What a wrapper put into the names (`module.`, `_orig_mod.`) is left
    out, and so is a prefix that all names of one side have and the other side lacks (`model.`, `net.`).
    Only tensors and plain values are read, never pickled code. Raises `InvalidValueError` where there are no
    weights, where they are not this model's, and where those under several keys fit.
    """
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    found = {key: _aligned(own, state) for key, state in _state_dicts(_read(path))}
    if not found:
        raise InvalidValueError(
            f"checkpoint: expected a state dict, got no named tensors in {path}; save model.state_dict()"
        )
    fitting = [key for key, state in found.items() if not _misfit(own, state)]
    if len(fitting) > 1:
        raise InvalidValueError(
            f"checkpoint: expected one set of weights, got {len(fitting)} that fit in {path}, under "
            f"{' and '.join(fitting)}; save the one that is meant by itself"
        )
    if not fitting:
        nearest = max(found, key=lambda key: len(own.keys() & found[key].keys()))
        where = "" if nearest == TOP else f" under {nearest}"
        others = [key for key in found if key != nearest]
        besides = f" (nor do those under {', '.join(others)} fit)" if others else ""
        raise InvalidValueError(
            f"checkpoint: expected the weights of this {type(model).__name__}, got "
            f"{_misfit(own, found[nearest])}{where} in {path}{besides}; choose the network that it was saved from"
        )
    model.load_state_dict(found[fitting[0]], strict=False)  # no name is missing but of what is no tensor


def _read(path: Path) -> Any:
    """What is in the file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InvalidValueError(
            f"checkpoint: expected a file, got {path} ({error.strerror}); name one that torch.save wrote"
        ) from error
    except Exception as error:  # torch, pickle and zipfile have many ways of saying no
        classes = _classes_in(path)
        if classes:
            raise InvalidValueError(
                f"checkpoint: expected tensors and plain values, got {', '.join(classes[:4])} in {path}, which "
                "only code in the file could make, and none is run; save model.state_dict(), or it beside numbers"
            ) from error
        raise InvalidValueError(
            f"checkpoint: expected a file that torch.save wrote, got another in {path} "
            f"({type(error).__name__}: {first_line(error)}); save model.state_dict()"
        ) from error


def _classes_in(path: Path) -> list[str]:
    """The classes and functions that a file asks for and that are not run; none where it is no such file."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError):
        return []


def _state_dicts(found: Any, key: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The named tensors at the top and in every dict below, with the keys that lead there."""
    named = (
        {name: value for name, value in found.items() if isinstance(name, str)}
        if isinstance(found, dict)
        else {}
    )
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    if tensors:
        yield key or TOP, tensors
    for name, value in named.items():
        yield from _state_dicts(value, f"{key}.{name}" if key else name)


def _aligned(own: dict[str, Tensor], found: dict[str, Tensor]) -> dict[str, Tensor]:
    """`found` under the model's own names, as far as wrappers and one prefix are all that differs."""
    ours, theirs = _unwrapped(own), _unwrapped(found)
    readings = [theirs]
    readings += [{name[len(p) :]: theirs[name] for name in theirs} for p in _prefixes(theirs)]
    readings += [{p + name: theirs[name] for name in theirs} for p in _prefixes(ours)]
    best = max(readings, key=lambda reading: len(ours.keys() & reading.keys()))
    return {ours.get(name, name): found[theirs_name] for name, theirs_name in best.items()}


def _unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Names without the parts of wrappers, each with the name it comes from."""
    names = list(names)
    short = {".".join(part for part in name.split(".") if part not in WRAPPERS): name for name in names}
    return short if len(short) == len(names) else {name: name for name in names}


def _prefixes(names: Iterable[str]) -> list[str]:
    """The prefixes that all names have, up to each point: `net.`, `net.encoder.`."""
    parts = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append((shared[-1] if shared else "") + f"{column[0]}.")
    return shared


def _misfit(own: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    """The first thing that does not fit, or nothing."""
    for name, value in own.items():
        if name not in found:
            return f"no {name}"
        if value.shape != found[name].shape:
            return f"{name} of shape {tuple(found[name].shape)} for {tuple(value.shape)}"
    unknown = [name for name in found if name not in own]
    return f"{unknown[0]}, which it does not have," if unknown else ""
