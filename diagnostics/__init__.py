"""Runnable modules: `python -m diagnostics` lists them."""

import atexit
import os
import signal
import sys
from importlib.util import find_spec

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _end(number: int, _: object) -> None:
    """Before a command hears of signals itself, there is nothing to keep."""
    try:
        os.write(2, f"python -m diagnostics: interrupted by {signal.Signals(number).name}\n".encode())
    finally:
        os._exit(128 + number)


def _ignore_signals() -> None:
    """All is done and said; while Python takes itself down, nobody changes the status."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if sys.argv[0] == "-m":  # as Python has it while it looks for the module to run
    for _number in _SIGNALS:
        if signal.getsignal(_number) is not signal.SIG_IGN:
            signal.signal(_number, _end)
    atexit.register(_ignore_signals)

_missing = [
    name for name in ("unrolled", "torch", "numpy", "pandas", "matplotlib", "rich") if find_spec(name) is None
]
if _missing:
    sys.stderr.write(
        f"diagnostics: expected packages that {sys.executable} does not have, {', '.join(_missing)}; "
        "run one of the make commands, which install them into .venv, and activate that\n"
    )
    raise SystemExit(2)
