"""Records to JSON and back: what the records of a spectrum share."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch

from unrolled.environment import Environment
from unrolled.errors import ResultFileError


class Record(ABC):
    """Measurements that are written to a JSON file and read back."""

    KIND: ClassVar[str]
    VERSION: ClassVar[int]

    @abstractmethod
    def frame(self) -> pd.DataFrame:
        """The numbers as one tidy table."""

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """Plain values for JSON."""

    @classmethod
    @abstractmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """The inverse of `fields`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with their version."""
        return {"version": self.VERSION, **self.fields()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ResultFileError`."""
        if fields.get("version") != cls.VERSION:
            raise ResultFileError(
                f"{cls.KIND}: expected version {cls.VERSION}, got {fields.get('version')!r}; measure it again"
            )
        try:
            return cls.from_fields(fields)
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
