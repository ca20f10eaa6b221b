"""What all commands share: one-line errors with exit status 2, and where output goes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from unrolled.errors import UnrolledError


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how to learn more; exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def run(work: Callable[[argparse.Namespace], int], parser: Parser, argv: Sequence[str] | None) -> int:
    """Parse `argv` and do the work; an `UnrolledError` becomes one line and exit status 2."""
    options = parser.parse_args(argv)
    try:
        return work(options)
    except UnrolledError as error:
        sys.stderr.write(f"{parser.prog}: {' '.join(str(error).split())}\n")
        return 2


def list_files(screen: Console, paths: Iterable[Path]) -> None:
    """Name the files that were written, each on a line of its own however narrow the terminal is."""
    screen.print()
    for path in paths:
        screen.print(f"  {path}", style="dim", soft_wrap=True)


def console() -> Console:
    """Standard output, as wide as the terminal; 120 columns where there is none."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)
