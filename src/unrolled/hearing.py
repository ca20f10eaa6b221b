"""What somebody else's code prints, kept out of our tables and told in a line."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import BinaryIO, cast

LONGEST = 160  # bytes of the first line that are kept


class Printed(io.RawIOBase):
    """Takes any number of bytes; keeps the first line and the number of lines. As a string: both, or nothing.

    `stream` is what stands in the place of standard output.
    """

    def __init__(self) -> None:
        self._head, self._ends, self._open = b"", 0, 0
        self.stream = io.TextIOWrapper(cast(BinaryIO, self), "utf-8", "backslashreplace", write_through=True)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Take what was printed."""
        given = bytes(data)  # type: ignore[call-overload]
        self._head += given[: LONGEST - len(self._head)]
        self._ends += given.count(b"\n")
        self._open = int(not given.endswith(b"\n")) if given else self._open
        return len(given)

    @property
    def lines(self) -> int:
        """How many, the last one also where nothing ends it."""
        return self._ends + self._open

    def __str__(self) -> str:
        first = self._head.decode(errors="replace").partition("\n")[0].strip()
        shown = "".join(letter if letter.isprintable() else "?" for letter in first)
        return f"printed {self.lines:,} line{'s' if self.lines > 1 else ''}: {shown}" if self.lines else ""


@contextmanager
def heard() -> Iterator[Printed]:
    """Standard output goes nowhere inside, and what was printed is in what this gives; one inside shares it."""
    enclosing = getattr(sys.stdout, "buffer", None)
    if isinstance(enclosing, Printed):
        yield enclosing
        return
    printed = Printed()
    with redirect_stdout(printed.stream):
        yield printed


def notes(changed: Sequence[str], printed: Printed) -> tuple[str, ...]:
    """What somebody else's code did beside its work, in words: settings that it changed, and lines."""
    settings = f"changed {', '.join(changed)}; put back" if changed else ""
    return tuple(note for note in (settings, str(printed)) if note)
