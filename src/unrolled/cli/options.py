"""Every option that more than one command takes, declared once: one word means one thing."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unrolled.cells import CELLS, check_cell
from unrolled.errors import InvalidValueError

SEEDS = 2**31
# At these sizes a second thread gains nothing, and on a busy machine costs five times the time.
THREADS = 1


def size(text: str) -> int:
    """`16`."""
    number = _whole(text)
    if not (isinstance(number, int) and number >= 1):
        raise InvalidValueError(f"expected an integer of at least 1, got {number!r}")
    return number


def _whole(text: str) -> int | str:
    """The number, or the text where it is none, or one that nothing can be the size of."""
    return int(text) if re.fullmatch("[+-]?[0-9]{1,18}", text) else text


def integers(text: str) -> tuple[int, ...]:
    """`10,20,50`."""
    return _several(int, text, "10,20,50")


def numbers(text: str) -> tuple[float, ...]:
    """`0.5,1,2`."""
    return _several(float, text, "0.5,1,2")


def _several(kind: Callable[[str], Any], text: str, example: str) -> tuple[Any, ...]:
    try:
        return tuple(kind(word) for word in text.split(","))
    except ValueError:
        raise InvalidValueError(
            f"expected numbers with commas in between, got {text!r}; try {example}"
        ) from None


def cells(text: str) -> tuple[str, ...]:
    """`gru,lstm`, or where one of your own is; each once."""
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        check_cell(name)
    return names


def seed(text: str) -> int:
    """`0` to 2147483647."""
    number = _whole(text)
    if not (isinstance(number, int) and 0 <= number < SEEDS):
        raise InvalidValueError(f"expected a number from 0 to {SEEDS - 1}, got {number!r}; try 0")
    return number


def seconds(text: str) -> float:
    """A time above 0."""
    (found,) = _several(float, text, "60")[:1]
    if not 0 < found < 1e9:
        raise InvalidValueError(f"expected seconds above 0, got {text!r}; try 60")
    return float(found)


def positive(text: str) -> float:
    """A number above 0."""
    (found,) = _several(float, text, "0.003")[:1]
    if not 0 < found < math.inf:
        raise InvalidValueError(f"expected a number above 0, got {text!r}; try 0.003")
    return float(found)


def path(text: str) -> Path:
    """Of a file or a folder; what is empty, such as a variable of a shell that is not set, names none."""
    if not text:
        raise InvalidValueError("expected a path, got ''; name one, such as . for the current folder")
    return Path(text)


CELL_HELP = f"{', '.join(CELLS)}, or your own package.module:Name; several with commas"
# Names and what argparse takes for them. A default of None is one that the command itself decides about.
OPTIONS: dict[str, dict[str, Any]] = {
    "cell": {"type": cells, "metavar": "CELL,...", "help": CELL_HELP},
    "hidden": {"type": size, "metavar": "H", "help": "hidden units"},
    "layers": {"type": size, "metavar": "L", "help": "recurrent layers"},
    "input": {"type": size, "metavar": "I", "help": "input features"},
    "batch": {"type": size, "metavar": "B", "help": "sequences at a time"},
    "length": {"type": size, "metavar": "T", "help": "steps"},
    "bidirectional": {"action": "store_true", "help": "run every layer both ways"},
    "init": {"help": "default, orthogonal, identity, normal:STD or chrono:T"},
    "gain": {"type": float, "help": "factor on all recurrent weights, after --init"},
    "forget-bias": {"type": float, "metavar": "BIAS", "help": "of an LSTM, both biases together"},
    "model": {
        "metavar": "PACKAGE.MODULE:FACTORY",
        "help": "returns a model, or (model, input); --cell names cells of yours in it",
    },
    "checkpoint": {"type": path, "metavar": "FILE", "help": "a state dict to fill the network with"},
    "clip": {
        "action": "append",
        "metavar": "MODE",
        "help": "none, norm:M, value:V, tensor:M, step:M (slow), auto:P, zclip:Z or agc:L; repeatable",
    },
    "dtype": {"choices": ("float64", "float32", "bfloat16"), "help": "default: float32"},
    "device": {"help": "cpu, cuda or cuda:N; default: cpu"},
    "seed": {"type": seed, "default": 0, "help": "of weights and data; default: 0"},
    "threads": {
        "type": size,
        "default": THREADS,
        "metavar": "N",
        "help": f"of torch; default: {THREADS}",
    },
    "out": {"type": path, "metavar": "FOLDER", "help": "for plots and data"},
    "no-plots": {"action": "store_true", "help": "tables and data only"},
    "report": {"action": "store_true", "help": "also all of it as one HTML page, among the files of --out"},
    "explain": {
        "action": "store_true",
        "help": "also say what each column and word means, and what else was found",
    },
    "timeout": {"type": seconds, "metavar": "SECONDS", "help": "then end, and keep what was measured"},
    "quiet": {"action": "store_true", "help": "no progress, and no list of the files written"},
}
MACHINE = ("dtype", "device", "seed", "threads")
OUTPUT = ("out", "no-plots", "report", "explain", "timeout", "quiet")


def add(parser: argparse.ArgumentParser, title: str, *names: str, **changes: Any) -> argparse._ArgumentGroup:
    """A group of options. `changes` says the default of one, where it is known, or more about it in a dict."""
    group = parser.add_argument_group(title)
    for name in names:
        change = changes.get(name.replace("-", "_"), {})
        if not isinstance(change, dict):
            change = {"help": f"{OPTIONS[name]['help']}; default: {change}"}
            if name == "out":
                change["default"] = changes["out"]
        group.add_argument(f"--{name}", **{**OPTIONS[name], **change})
    return group
