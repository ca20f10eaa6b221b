"""A limit on the time of somebody else's code, which may hang, and may catch what is raised to stop it."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

from unrolled.errors import TimeLimitError

AGAIN_S = 0.1  # until it is raised once more, in code that caught it and went on
_NOT_HERE = (__file__, contextlib.__file__)  # where nobody would catch it
_OURS = str(Path(__file__).parent)  # whose code catches nothing, and is to clean up undisturbed


@contextmanager
def time_limit(seconds: float | None, what: str) -> Iterator[None]:
    """Raise `TimeLimitError`, which names `what`, where the code inside takes longer; None is no limit.

    The code is stopped between two of Python's operations: a single call of a library is waited for. Where there is no
    SIGALRM, or in a thread that is not the main one, sleep is waited for too. What was set for SIGALRM before is so
    again afterwards, less the time that went by.
    """
    if seconds is None:
        yield
        return

    class TimeIsUp(BaseException):
        """No `Exception`, so that code which catches those lets it through."""

    by_signal = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if by_signal:
        stop = _ring_by_signal(seconds, TimeIsUp, entered=sys._getframe(2))  # past that of contextlib
    else:
        stop = _ring_from_thread(seconds, TimeIsUp)
    try:
        try:
            yield
        finally:
            stop()
    except TimeIsUp:
        stop()
        raise TimeLimitError(
            f"{what}: expected at most {seconds:g} s, took longer; allow more, or ask for less"
        ) from None


def _ring_by_signal(seconds: float, raised: type[BaseException], entered: FrameType) -> Callable[[], None]:
    """Raise in the main thread by SIGALRM, in what `entered` calls, until what this gives is called."""
    started, rings, running, tracer = monotonic(), 0, True, sys.gettrace()

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal rings
        if not running or frame is None or frame.f_code.co_filename in _NOT_HERE:
            return
        rings += 1
        if rings > 1:  # it was caught
            if frame.f_code.co_filename.startswith(_OURS):
                return
            sys.settrace(trace)
            outer: FrameType | None = frame
            while outer is not None and outer is not entered:
                outer.f_trace = trace
                outer = outer.f_back
        raise raised

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        """Raise once more at the next line, which is out of the `try` of a loop that catches everything."""
        if event == "call":  # what was not running then is left alone
            return None
        if running and event == "line" and not frame.f_code.co_filename.startswith((*_NOT_HERE, _OURS)):
            raise raised
        return trace

    before = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)

    def stop() -> None:
        nonlocal running
        if not running:
            return
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)
        if left:  # what is overdue comes at once
            signal.setitimer(signal.ITIMER_REAL, max(left - (monotonic() - started), 1e-6), interval)
        if rings > 1:
            sys.settrace(tracer)

    return stop


def _ring_from_thread(seconds: float, raised: type[BaseException]) -> Callable[[], None]:
    """Raise in this thread, from another one, until what this gives is called."""
    here, done = ctypes.c_ulong(threading.get_ident()), threading.Event()

    def ring() -> None:
        wait = seconds
        while not done.wait(wait):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(here, ctypes.py_object(raised))
            wait = AGAIN_S

    thread = threading.Thread(target=ring, daemon=True)
    thread.start()

    def stop() -> None:
        done.set()
        thread.join()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(here, None)  # one that has not come yet

    return stop
