"""`unrolled`: the commands, and the way to each of them. What one of them needs is imported when it is chosen."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "bench": "how fast: fused against unrolled recurrences, on your grid",
    "why": "why a loop is slower: what each change between it and fused saves",
    "gradflow": "how far back: the gradient at every step, clipped and unclipped",
    "spectrum": "chaotic or not: Lyapunov exponents and Jacobian singular values",
    "learn": "what is learned in the end: tasks of known delay, beside the horizon",
    "advise": "what to change where a network does not learn, tried beside it",
    "sweep": "a grid of settings and seeds, on all cores: a phase diagram",
    "parallel": "can it run in parallel over time? Newton's iterations, measured",
    "forecast": "clipping in real training: a small forecaster of a series",
    "shapes": "what goes in and comes out: parameters, outputs and states",
    "compare": "two benchmark runs: what got slower, and a gate for a pull request",
    "report": "results as one HTML page, for somebody else",
    "plots": "tables and plots again, from the files of a run",
    "env": "this machine and its versions, for a report of a problem",
}
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status."""
    end_on_signals("unrolled")
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(usage())  # noqa: T201
        return 0
    if name in ("-V", "--version"):
        from importlib.metadata import version

        print(f"unrolled {version('unrolled')}")  # noqa: T201
        return 0
    if name not in COMMANDS:
        import difflib

        close = difflib.get_close_matches(name, COMMANDS, 1)
        advice = f"; did you mean {close[0]}?" if close else " (see unrolled --help)"
        sys.stderr.write(f"unrolled: expected one of {', '.join(COMMANDS)}, got {name!r}{advice}\n")
        return 2
    if name == "bench":
        return int(import_module("unrolled.cli.bench").main(rest))
    return int(import_module("unrolled.cli.command").main(name, rest, prog=f"unrolled {name}"))


def usage() -> str:
    """The commands, a line each."""
    lines = [f"  {name:<9} {line}" for name, line in COMMANDS.items()]
    return "\n".join(
        [
            "How fast does your recurrent network run, and how far back can it learn?",
            "",
            "usage: unrolled COMMAND [options]       unrolled COMMAND --help says which",
            "",
            *lines,
            "",
            "unrolled --version",
        ]
    )


def end_on_signals(who: str) -> None:
    """Until a command hears of signals itself there is nothing to keep: a line, and the status that a shell expects."""

    def end(number: int, _: object) -> None:
        try:
            os.write(2, f"{who}: interrupted by {signal.Signals(number).name}\n".encode())
        finally:
            os._exit(128 + number)

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    atexit.register(_ignore_signals)


def _ignore_signals() -> None:
    """All is done and said; while Python takes itself down, nobody changes the status."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
