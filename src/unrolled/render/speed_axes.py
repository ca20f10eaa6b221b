"""The sizes that tell the benchmarks of a run apart: in which order they come, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unrolled.networks.options import PLAIN

if TYPE_CHECKING:
    import pandas as pd

# What a row of a table is, and the short name that each axis has there.
ROW_AXES = {
    "num_layers": "L",
    "batch_size": "B",
    "seq_len": "T",
    "input_size": "I",
    "hidden_size": "H",
    "bidirectional": "bi",
    "bias": "bias",
    "batch_first": "bf",
    "proj_size": "P",
    "dropout": "p",
    "packed": "packed",
    "threads": "thr",
}
WORDS = {
    "num_layers": "layers",
    "batch_size": "batch size",
    "seq_len": "sequence length",
    "input_size": "input features",
    "hidden_size": "hidden units",
    "bidirectional": "directions",
    "bias": "biases",
    "batch_first": "layout",
    "proj_size": "projected units",
    "dropout": "probability of dropout",
    "packed": "packing",
    "threads": "threads",
}
# Of an axis with two sides: what it is called where it is False, and where it is True.
SIDES = {
    "bidirectional": ("one way", "both ways"),
    "bias": ("no biases", "biases"),
    "batch_first": ("time first", "batch first"),
    "packed": ("padded", "packed"),
}
USUAL: dict[str, Any] = {"bidirectional": False, **PLAIN}  # which goes without saying
ALWAYS = ("num_layers", "batch_size")
Place = tuple[Any, ...]  # a value for each of some axes


def row_axes(frame: pd.DataFrame, without: str = "") -> list[str]:
    """Layers and batch always, and every other axis that varies; not the one `without`."""
    there = [axis for axis in ROW_AXES if axis in frame and axis != without]
    return [axis for axis in there if axis in ALWAYS or frame[axis].nunique() > 1]


def places(frame: pd.DataFrame, axes: Sequence[str]) -> list[Place]:
    """What occurs on some axes, each once: numbers in the order of numbers, those of single layers (`30+20`) last."""
    found = {tuple(row) for row in frame[list(axes)].itertuples(index=False)}
    return sorted(found, key=lambda place: tuple(map(_rank, place)))


def _rank(value: Any) -> tuple[float, ...]:
    numbers = [float(number) for number in str(value).split("+")] if isinstance(value, str) else [float(value)]
    return (len(numbers), *numbers)


def at(frame: pd.DataFrame, axes: Sequence[str], place: Place) -> pd.DataFrame:
    """The rows at one place."""
    return frame[(frame[list(axes)] == list(place)).all(axis=1)]


def value_of(value: Any) -> str:
    """One value as a cell of a table."""
    if str(value) in ("True", "False"):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def labels(axes: Sequence[str], place: Place) -> list[str]:
    """`["L2", "B16", "4 thr"]`."""
    said = []
    for axis, value in zip(axes, place, strict=True):
        if axis in SIDES:
            said.append(SIDES[axis][bool(value)])
        elif axis == "threads":
            said.append(f"{value} thr")
        else:
            said.append(f"{ROW_AXES[axis]}{value_of(value)}")
    return said


def options_of(frame: pd.DataFrame, but: str = "") -> str:
    """The options that all rows have and that are not torch's defaults, for the end of a title: ` · packed`."""
    words = {"proj_size": "projected to {:g}", "dropout": "dropout {:g}"}
    found = []
    for axis in PLAIN:
        if axis in frame and axis != but and frame[axis].nunique() == 1:
            value = frame[axis].iloc[0]
            if value != USUAL[axis]:
                found.append(SIDES[axis][bool(value)] if axis in SIDES else words[axis].format(value))
    return "".join(f" · {each}" for each in found)


def key(frame: pd.DataFrame, axes: Sequence[str]) -> str:
    """What the letters of `labels` stand for, and the sizes that are the same everywhere: `L layers; T = 50, …`."""
    letters = [f"{ROW_AXES[axis]} {WORDS[axis]}" for axis in axes if axis not in (*SIDES, "threads")]
    fixed = []
    for axis in ROW_AXES:
        if axis in frame and axis not in axes and axis != "threads" and frame[axis].nunique() == 1:
            value = frame[axis].iloc[0]
            if axis in USUAL and value == USUAL[axis]:
                continue
            is_named = f"{WORDS[axis]} {ROW_AXES[axis]}\u00a0=\u00a0{value_of(value)}"
            fixed.append(SIDES[axis][bool(value)] if axis in SIDES else is_named)
    return "; ".join(part for part in (", ".join(letters), ", ".join(fixed)) if part)
