"""Records to JSON and back: what the records of a spectrum share."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import pandas as pd
import torch

from unrolled.environment import Environment
from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.spectrum.system import System


class Measurement(Protocol):
    """Something measured of one system."""

    @property
    def system(self) -> System:
        """The system."""

    def frame(self) -> pd.DataFrame:
        """The numbers as one tidy table."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""


Part = TypeVar("Part", bound=Measurement)


@dataclass(frozen=True, eq=False)
class Record(Generic[Part]):
    """What was measured of each system of a model, to be written to a JSON file and read back.

    `parts`: one per system. `facts`: for each recurrent module, its sizes under `torch.nn`'s names and those of its
    input. `notes`: one sentence for each system that could not be measured.
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[int]
    PART: ClassVar[type[Measurement]]

    parts: tuple[Part, ...]
    facts: dict[str, dict[str, Any]]
    notes: tuple[str, ...]
    environment: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("no systems")

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)

    def part(self, name: str | None = None, module: str | None = None, call: int = 0) -> Part:
        """The system of that name, such as `l0`, `l1.reverse` or `stack`; of the first module by default.

        Without a name, the module as a whole: its stack, or where there is none its last layer. Raises
        `InvalidValueError` when there is no such system.
        """
        module = self.parts[0].system.module if module is None else module
        of_call = [part for part in self.parts if (part.system.module, part.system.call) == (module, call)]
        named = [part for part in of_call if name in (None, part.system.name)]
        if not named:
            known = ", ".join(part.system.label for part in self.parts[:8])
            raise InvalidValueError(
                f"system: expected one of {known}, got {name!r} of {module!r}, call {call}; see .frame()"
            )
        return named[-1]

    def frame(self) -> pd.DataFrame:
        """The tables of all systems, one below the other: see `Exponents.frame` or `SingularValues.frame`."""
        return pd.concat([part.frame() for part in self.parts], ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with their version."""
        return {
            "version": self.VERSION,
            "facts": self.facts,
            "notes": list(self.notes),
            "systems": [part.to_dict() for part in self.parts],
            "environment": self.environment,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ResultFileError`."""
        if fields.get("version") != cls.VERSION:
            raise ResultFileError(
                f"{cls.KIND}: expected version {cls.VERSION}, got {fields.get('version')!r}; measure it again"
            )
        try:
            parts: Any = tuple(cls.PART.from_dict(part) for part in fields["systems"])
            return cls(parts, fields["facts"], tuple(fields["notes"]), fields["environment"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ResultFileError(
                f"{cls.KIND}: expected what to_json wrote, got a damaged record ({error}); measure it again"
            ) from error

    def to_json(self, path: str | Path) -> None:
        """Write everything; the directory must exist."""
        Path(path).write_text(json.dumps(self.to_dict(), allow_nan=False) + "\n")

    @classmethod
    def from_json(cls, path: str | Path) -> Self:
        """Read what `to_json` wrote. Raises `ResultFileError`."""
        try:
            fields = json.loads(Path(path).read_text(), parse_constant=_no_number)
        except (OSError, ValueError) as error:
            raise ResultFileError(
                f"{path}: expected a {cls.KIND} as JSON, got {error}; measure it again"
            ) from error
        if not isinstance(fields, dict):
            raise ResultFileError(
                f"{path}: expected a {cls.KIND}, got {type(fields).__name__}; measure it again"
            )
        return cls.from_dict(fields)

    def to_csv(self, path: str | Path) -> None:
        """Write `frame()`."""
        self.frame().to_csv(path, index=False)


def _no_number(name: str) -> None:
    """Refuse NaN and inf, which JSON does not have, though Python's reader takes them."""
    raise ValueError(f"{name} in place of a number")


def to_lists(array: np.ndarray) -> list[Any]:
    """An array as nested lists, with None for `-inf`, for which JSON has no number."""
    if array.ndim > 1:
        return [to_lists(row) for row in array]
    return [value if math.isfinite(value) else None for value in array.tolist()]


def from_lists(values: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `to_lists`; in `shape`, -1 is any size. Raises `ValueError` where it does not fit."""
    array = np.array(values, dtype=float)  # None becomes NaN
    fits = array.ndim == len(shape) and all(
        size in (-1, actual) for size, actual in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"an array {array.shape} in place of {shape}")
    return np.where(np.isnan(array), -np.inf, array)


@cache
def _machine() -> dict[str, Any]:
    """Looked up once per process: asking git costs more than a small network's spectrum."""
    return Environment.capture().to_dict()


def environment() -> dict[str, Any]:
    """The machine and its software, without its load, which would make each file a different one."""
    kept = {name: value for name, value in _machine().items() if name != "load_average"}
    return {**kept, "threads": torch.get_num_threads()}
