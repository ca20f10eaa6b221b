"""Signals that end a command: what was measured is kept, nothing is left half done, one line, and the process is gone.

An exception that a handler raises is lost in some of the places where it may come up: in callbacks of weak references,
in C code that draws, in a model that catches everything. So the handler itself does what is to be done, and exits.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERRUPTIONS = ("SIGINT", "SIGTERM", "SIGHUP")
TIME_IS_UP = 124  # the exit status, as of `timeout`


@contextmanager
def ending(
    end: Callable[[str], object], names: tuple[str, ...] = INTERRUPTIONS, timeout: float | None = None
) -> Iterator[None]:
    """On one of the signals, or after `timeout` seconds, call `end` with the reason, and exit with the signal's status.

    Signals that are ignored, as under nohup, stay so.
    """

    def handle(number: int, _: object) -> None:
        try:
            for other in before:
                signal.signal(other, signal.SIG_IGN)
            name = signal.Signals(number).name
            end(f"expected to end within {timeout:g} s" if name == "SIGALRM" else f"interrupted by {name}")
        finally:
            os._exit(TIME_IS_UP if number == getattr(signal, "SIGALRM", None) else 128 + number)

    chosen = (*names, "SIGALRM") if timeout else names
    numbers = [getattr(signal, name) for name in chosen if hasattr(signal, name)]
    before = {n: signal.signal(n, handle) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    if timeout and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        yield
    finally:
        if timeout and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
