"""Standard output and error as they come: of any width and encoding, full, or closed by whoever read them."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from rich.console import Console

WIDTH = 120  # columns where there is no terminal and COLUMNS says nothing
_replaced: set[str] = set()
_errors: list[TextIO] = []  # standard error as it was when the command began, which others may redirect


def prepare() -> None:
    """Let nothing that is printed later raise because of an encoding, nor a file take the place of a closed stream."""
    _forget_odd_sizes()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would get its number, and all that is printed
            os.dup2(os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY), number)
        if getattr(sys, name) is None:
            setattr(sys, name, Closed() if number else os.fdopen(0))
    codecs.register_error("unrolled", _replace)
    _errors[:] = [sys.stderr]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="unrolled")


def _forget_odd_sizes() -> None:
    """Of COLUMNS=0 rich makes tables without any width, and at others that are no number it raises."""
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch("[1-9][0-9]{0,8}", os.environ.get(name, "")):
            os.environ.pop(name, None)


class Closed(io.TextIOBase):
    """A standard stream that was closed before the command began."""

    def write(self, text: str) -> int:
        """Say so."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    _replaced.update(error.object[error.start : error.end])
    return "?" * (error.end - error.start), error.end


class Screen(Console):
    """A console that leaves it to us what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        """Raise as any other stream that takes nothing."""
        raise


def console(width: int | None = None, *, record: bool = False) -> Console:
    """Standard output, as wide as the terminal or as COLUMNS says; 120 columns where neither does."""
    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Screen(file=sys.stdout, width=width or (None if known else WIDTH), highlight=False, record=record)


def list_files(screen: Console, paths: list[Path]) -> None:
    """Name the files that were written, each on a line of its own however narrow the terminal is."""
    screen.print()
    for path in paths:
        screen.print(f"  {path}", style="dim", soft_wrap=True)


def shown(work: Callable[[], object]) -> str:
    """Print; gives what went wrong with it, in words, or nothing."""
    _replaced.clear()
    try:
        work()
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        if not isinstance(error, OSError) and not sys.stdout.closed:
            raise
        with contextlib.suppress(OSError, ValueError):  # what is left in the buffer has nowhere to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f"standard output: {getattr(error, 'strerror', 'closed')}"
    return ""


def unshown() -> str:
    """The characters that the encoding of standard output lacks, of those last shown."""
    return "".join(sorted(_replaced))


def say(line: str) -> None:
    """One line on standard error, where there is one."""
    with contextlib.suppress(OSError, ValueError):  # closed by the other end, or by somebody here
        _errors[0].write(" ".join(line.split()) + "\n")
        _errors[0].flush()
