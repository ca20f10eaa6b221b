"""The options of races, declared once, whatever they are called: `--unrolled-budget`, or `--budget` beside a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OPTIONS: dict[str, dict[str, Any]] = {
    "budget": {
        "type": float,
        "metavar": "SECONDS",
        "help": "timed rounds of a benchmark, in all passes; default: 0.5, in a grid 0.3",
    },
    "passes": {
        "type": int,
        "metavar": "N",
        "help": "among which the rounds are shared out; default: 10, in a grid 5 over all of it",
    },
    "timeout": {
        "type": float,
        "metavar": "SECONDS",
        "help": "for what a contender does in a pass, or in its checks; default: none",
    },
    "as": {
        "choices": ("ratio", "speedup"),
        "default": "ratio",
        "help": "time / time of the reference, or the other way round; default: ratio",
    },
    "explain": {"action": "store_true", "help": "also what the columns mean, and how sure all of it is"},
    "report": {"action": "store_true", "help": "also one HTML page of all results, bench.html in that folder"},
    "out": {"metavar": "FOLDER", "help": "for results; default: none, of a grid results/bench"},
}


def add_options(add: Callable[..., object], prefix: str, but: tuple[str, ...] = ()) -> None:
    """Hand each option to `add`, by its name with `prefix` and kept as `unrolled_NAME`, but for those of names `but`.

    Of an option that is added by two names the last one given counts.
    """
    for name, words in OPTIONS.items():
        if name not in but:
            add(prefix + name, dest=f"unrolled_{name}", **words)
