"""Records to plain values for JSON and back: one spelling, and nothing is read that would not be written like that."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np

# What JSON has no numbers for, spelled as Python's `float` reads it.
WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
# Of a dataclass field that stays behind, such as the tensors of the process that measured: `field(metadata=UNSAVED)`.
UNSAVED = {"saved": False}
# Of one that came later than the files of its record, and has a default: `field(default=..., metadata=IF_NOT_DEFAULT)`.
IF_NOT_DEFAULT = {"saved": "if not the default"}

# Kinds of numbers that fields declare; a plain `float` may be NaN or infinite, these may not.
LARGEST = float(np.finfo(float).max)
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Size = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=LARGEST)]
NonNegative = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)]

Kind = TypeVar("Kind")


def require(fact: bool | np.bool_, what: str) -> None:
    """For a record's `check`: raise `ValueError` where something that holds for every measurement does not."""
    if not fact:
        raise ValueError(f"expected {what}")


def encode(value: Any) -> Any:
    """Dataclasses as dicts of their fields, tuples and arrays as lists, NaN and infinities as `WORDS`."""
    if is_dataclass(value):
        return {
            field.name: encode(getattr(value, field.name)) for field in fields(value) if _is_saved(field, value)
        }
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist() if np.isfinite(value).all() else encode(value.tolist())
    if isinstance(value, list | tuple):
        if all(type(item) is float for item in value) and all(map(math.isfinite, value)):
            return list(value)  # most of a record: its rounds
        return [encode(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _is_saved(field: Field[Any], of: Any) -> bool:
    saved: object = field.metadata.get("saved", True)
    return getattr(of, field.name) != field.default if saved == "if not the default" else bool(saved)


def decode(kind: type[Kind], content: Any) -> Kind:
    """The inverse of `encode`.

    Every field has to be there, but for defaults that are not saved, and to be of its type and range (msgspec), every
    dataclass that has a method `check` has to pass it, and what was read has to be written again as it stood. Raises
    `ValueError` that says where not.
    """
    try:
        value = msgspec.convert(content, kind, strict=False, dec_hook=_array)
        for part in _parts(value):
            part.check()
        difference = _difference(content, encode(value), "$")
    except (TypeError, OverflowError, RecursionError, AttributeError, LookupError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if difference:
        raise ValueError(difference)
    return value


def _array(kind: type, value: Any) -> np.ndarray:
    """Of integers where all entries are, else of floats."""
    if not issubclass(kind, np.ndarray):
        raise ValueError(f"expected no {kind.__name__}")
    if type(value) is not list:
        raise ValueError(f"expected a list of numbers, got {reprlib.repr(value)}")
    array = np.array(_numbers(value))
    if array.dtype.kind not in "if":
        raise ValueError("expected numbers that fit into 64 bits")
    return array


def _numbers(value: Any) -> Any:
    if type(value) is list:
        return [_numbers(item) for item in value]
    if type(value) not in (int, float) and value not in WORDS:
        raise ValueError(f"expected a number, got {reprlib.repr(value)}")
    return WORDS.get(value, value)


def _parts(value: Any) -> Iterator[Any]:
    """All dataclasses in a value that have a `check`, inner ones first."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
        if hasattr(value, "check"):
            yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _parts(item)


def _difference(read: Any, written: Any, where: str) -> str:
    """Where what was read is not what would be written, and how; nothing where it is the same."""
    if isinstance(read, dict) and isinstance(written, dict):
        if read.keys() != written.keys():
            missing = [key for key in written if key not in read]
            unknown = [key for key in read if key not in written]
            return f"{'no' if missing else 'an unknown'} {reprlib.repr((missing or unknown)[0])} at {where}"
        found = (_difference(read[key], written[key], f"{where}.{key}") for key in read)
    elif isinstance(read, list) and isinstance(written, list) and len(read) == len(written):
        found = (_difference(*pair, f"{where}[{k}]") for k, pair in enumerate(zip(read, written, strict=True)))
    elif read == written and isinstance(read, bool) == isinstance(written, bool):
        return ""
    else:
        return f"{reprlib.repr(read)} in place of {reprlib.repr(written)} at {where}"
    return next(filter(None, found), "")
