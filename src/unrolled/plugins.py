"""From `package.module:name` to what stands there: the one way in for code that somebody else wrote."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from unrolled.errors import ImplementationError, InvalidValueError


def resolve(path: str, what: str) -> object:
    """What `package.module:name` names; the current folder is searched too. `what` stands before the path.

    Raises `InvalidValueError` for a path of another form, `ImplementationError` where it leads nowhere.
    """
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name):
        raise InvalidValueError(f"{what}: expected package.module:name, got {path!r}; name both")
    here = str(Path.cwd())
    if here not in sys.path:  # it usually lies where the command is typed
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # its own code may do anything while it is imported
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
