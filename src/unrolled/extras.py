"""Packages that come with an extra of unrolled, such as `unrolled[plots]`: imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from unrolled.errors import MissingPackageError


def need(name: str, *, extra: str, why: str) -> ModuleType:
    """The module of that name, such as `matplotlib`, which `pip install 'unrolled[extra]'` brings.

    `why` is what it is for, such as `plots`. Raises `MissingPackageError` where its package is not installed.
    """
    package = name.partition(".")[0]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != package:  # it is there, and lacks something itself
            raise
        raise MissingPackageError(
            f"expected {package} for {why}, which is not installed; pip install 'unrolled[{extra}]'"
        ) from None


def lacks(name: str, *, extra: str, why: str) -> str:
    """What `need` would raise, or nothing: for whoever can do without."""
    try:
        need(name, extra=extra, why=why)
    except MissingPackageError as error:
        return str(error)
    return ""
