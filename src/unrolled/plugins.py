"""From `package.module:name` to what stands there: the one way in for code that somebody else wrote."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from unrolled.errors import ImplementationError, InvalidValueError

# What somebody else's code may end with, wherever it runs; Ctrl-C is the user's own, and a time limit ours.
THEIRS = (Exception, SystemExit)


def resolve(path: str, what: str, known: Iterable[str] = ()) -> object:
    """What `package.module:name` names; the current folder is searched too. `what` stands before the path.

    `known` are words that could have stood in its place. Global settings of torch that the module changes are put
    back. Raises `InvalidValueError` for a path of another form,
    `ImplementationError` where it leads nowhere.
    """
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name):
        words = ", ".join([*known, "or package.module:name"] if known else ["package.module:name"])
        raise InvalidValueError(f"{what}: expected {words}, got {path!r}; name both module and name")
    here = str(Path.cwd())
    if here not in sys.path:  # it usually lies where the command is typed
        sys.path.insert(0, here)
    from unrolled.torch_settings import settings_kept  # with torch, for which mistakes of form do not wait

    try:
        with settings_kept():
            module = importlib.import_module(module_name)
    except THEIRS as error:
        raise ImplementationError(
            f"{what} {path}: {module_name} cannot be imported ({type(error).__name__}: {first_line(error)}); "
            "is it installed, or in the current folder?"
        ) from error
    found = getattr(module, name, None)
    if found is None:
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ImplementationError(
            f"{what} {path}: {module_name} has no {name!r}; it has {', '.join(public) or 'no functions'}"
        )
    return found


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for one-line reports."""
    return next(iter(str(error).splitlines()), "no message")
