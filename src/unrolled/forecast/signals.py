"""The series to forecast: functions of time, chaotic systems, or a column of somebody's CSV file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unrolled.errors import InvalidValueError
from unrolled.theory.chaos import HENON, LORENZ, ChaoticSystem

STEP = 10 / 49  # units of time between points, so that 50 points span 10
STARTS = (0, 1, 2)  # units of time at which a window of a function may begin

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sine": np.sin,
    # Two frequencies whose ratio is irrational: the series never repeats.
    "sum": lambda t: np.sin(t) + 0.5 * np.sin(math.sqrt(5) * t),
    # The frequency rises from 0.5 by 0.15 for each unit of time.
    "chirp": lambda t: np.sin(0.5 * t + 0.075 * t**2),
}


@dataclass(frozen=True)
class Observed:
    """A chaotic system of which the x coordinate is read every so many of its steps."""

    system: ChaoticSystem
    every: int

    @property
    def interval(self) -> float:
        """Units of time from one point of the series to the next."""
        return self.system.dt * self.every


CHAOTIC: dict[str, Observed] = {
    "henon": Observed(HENON, every=1),
    # 0.1 units of time: of 0.02, 0.05 and 0.1 the one whose closed loops come near the largest exponent. A GRU of 32
    # units (batches of 32, 3000 iterations of Adam at 0.003 and at 0.01) has 0.87 and 0.91 there.
    "lorenz": Observed(LORENZ, every=10),
}
POINTS = 5000  # of a chaotic series, and more where windows are so long that there would not be four of them
CSV = "csv:"  # begins a signal that is the column of a file
NAMED = (*FUNCTIONS, *CHAOTIC)
EXPECTED = f"{', '.join(NAMED)} or csv:FILE:COLUMN"


@dataclass(frozen=True, eq=False)
class Windows:
    """`every` `(W, length)`: those to train on; `loop` `(length,)`: that of the closed loop."""

    every: Tensor
    loop: Tensor


def windows_of(signal: str, length: int) -> Windows:
    """The windows of a signal, of `length` points each.

    A function gives a window for each of `STARTS`, and the first is the closed loop's: the one whose first
    point is unlike that of the others.

    A file or a chaotic system gives every window of its series, scaled to mean 0 and standard deviation 1. The last
    is the closed loop's, and where the series has two windows or more, those to train on end before that begins.

    Raises `InvalidValueError` for a signal that is none, or a file that holds none.
    """
    if signal in FUNCTIONS:
        times = np.array(STARTS, dtype=float)[:, None] + STEP * np.arange(length)
        windows = torch.tensor(FUNCTIONS[signal](times), dtype=torch.float32)
        return Windows(windows, windows[0])
    if signal in CHAOTIC:
        values = observed_series(CHAOTIC[signal], length)
    elif signal.startswith(CSV):
        values = read_series(signal, length)
    else:
        raise InvalidValueError(f"signal: expected {EXPECTED}, got {signal!r}; try sine")
    series = torch.tensor(values, dtype=torch.float32)
    every = series.unfold(0, length, 1)  # a view: long series stay small
    if len(series) < 2 * length:
        return Windows(every, every[-1])
    return Windows(every[: len(every) - length], every[-1])


@lru_cache(maxsize=4)  # it takes a second, and is asked for by every training and every check
def observed_series(observed: Observed, length: int) -> np.ndarray:
    """The x coordinate on the attractor `(N,)`, scaled to mean 0 and standard deviation 1."""
    points = observed.system.trajectory(max(POINTS, 4 * length), every=observed.every)
    return _scaled(points[:, 0])


def _scaled(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.mean()) / values.std())


def fingerprint(signal: str) -> str:
    """The same for two signals of one series: of a file's column the digest of its numbers, of others the name.

    Scaled, or as a function of time, they may have another last digit on another processor.
    """
    if not signal.startswith(CSV):
        return signal
    return hashlib.sha256(_column(signal)[2].tobytes()).hexdigest()[:16]


def _column(signal: str) -> tuple[str, str, np.ndarray]:
    """The file and the column that `csv:FILE:COLUMN` names, and its numbers `(N,)`."""
    name, _, column = signal.removeprefix(CSV).rpartition(":")
    if not name or not column:
        raise InvalidValueError(
            f"signal: expected csv:FILE:COLUMN, got {signal!r}; name a file and one of its columns"
        )
    frame = _read(Path(name))
    if column not in frame:
        raise InvalidValueError(
            f"signal: expected a column {column!r} in {name}, got {', '.join(map(str, frame.columns))}; "
            "name one of these"
        )
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        found = frame[column].iloc[bad[0]]
        raise InvalidValueError(
            f"signal: expected finite numbers in column {column!r} of {name}, got "
            f"{'nothing' if found in ('', None) else repr(str(found))} in data row {bad[0] + 1}; fill or "
            "remove such rows"
        )
    return name, column, values


def read_series(signal: str, length: int) -> np.ndarray:
    """The column that `csv:FILE:COLUMN` names `(N,)`, scaled to mean 0 and standard deviation 1."""
    name, column, values = _column(signal)
    if len(values) < length:
        raise InvalidValueError(
            f"signal: expected at least {length} points, one window, got {len(values)} in {name}; choose a "
            "smaller --length, or a longer series"
        )
    spread = float(values.std())
    # A constant's standard deviation may be a rounding error instead of 0.
    if not spread > 1e-12 * float(np.abs(values).max()):
        raise InvalidValueError(
            f"signal: expected a series that changes, got {values[0]:g} in every row of {column!r} in {name}; "
            "choose another column"
        )
    return _scaled(values)


def _read(path: Path) -> pd.DataFrame:
    """The file as text: what is no number is to be named, not guessed at."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except OSError as error:
        raise InvalidValueError(
            f"signal: expected a CSV file, got {path} ({error.strerror}); name one that can be read"
        ) from error
    except pd.errors.EmptyDataError as error:
        raise InvalidValueError(
            f"signal: expected a CSV file with a header, got an empty one: {path}; name another"
        ) from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"signal: expected a CSV file, got something else in {path} ({' '.join(str(error).split())}); name "
            "another"
        ) from error
    if not len(frame):
        raise InvalidValueError(f"signal: expected rows in {path}, got a header alone; name another")
    return frame
