"""How far a long computation has come: reported to a function, or by a line on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from unrolled.errors import InvalidTypeError
from unrolled.progress import ProgressLine

Progress = bool | Callable[[int, int], None]

PATIENCE_S = 2.0  # seconds; a shorter computation needs no line


@contextmanager
def reporting(progress: Progress, total: int, what: str) -> Iterator[Callable[[float], None]]:
    """Yields a function to call with the number of steps just done; it calls `progress(done, total)`.

    Raises `InvalidTypeError` for a `progress` that is neither a bool nor a function.
    """
    if not isinstance(progress, bool) and not callable(progress):
        raise InvalidTypeError(
            f"progress: expected True, False or a function of the steps done and all steps, got {progress!r}; leave it "
            "out for none"
        )
    done, began, percent = 0.0, monotonic(), 0
    line = ProgressLine(sys.stderr) if progress is True else None

    def tick(steps: float) -> None:
        """Count so many more steps, and report them."""
        nonlocal done, percent
        done += steps
        if callable(progress):
            progress(min(round(done), total), total)
        elif line is not None and monotonic() - began > PATIENCE_S:
            if not line.showing:
                line.start(100)
            while percent < min(100, int(100 * done / total)):
                percent += 1
                line.advance()
            line.show(what)

    try:
        yield tick
    finally:
        if line is not None and line.showing:
            line.stop()
