"""One line on standard error that says what runs now and how long the rest takes."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class ProgressLine:
    """A rich progress bar that is drawn when told to and never by itself.

    A bar that redraws itself from a thread would take its time out of somebody's timed round. On a file
    or a pipe nothing is drawn.
    """

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self.live = stream.isatty() and not quiet
        self.what = ""  # runs now
        self.showing = False
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream),
            auto_refresh=False,
            transient=True,
            disable=not self.live,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("starting", total=None)

    def start(self, total: int) -> None:
        """Show the line, with so many things to do."""
        self.showing = self.live
        self._progress.update(self._task, total=total)
        self._progress.start()

    def show(self, what: str) -> None:
        """Say what runs now."""
        self.what = what
        self._progress.update(self._task, description=what, refresh=True)

    def advance(self, count: int = 1) -> None:
        """One more is done, or several; drawn with the next `show`."""
        self._progress.advance(self._task, count)

    def stop(self) -> None:
        """Take the line away."""
        self.showing = False
        self._progress.stop()
