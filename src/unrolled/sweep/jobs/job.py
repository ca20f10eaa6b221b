"""What a job is: the settings that it takes, one measurement with them, and the columns of the row that it gives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.sweep.axis import Axis, Value, name_and_values, parse_values

Settings = Mapping[str, Any]  # a value for each parameter of a job
Row = dict[str, Value]  # a value for each of its columns, and `problem`
PROBLEM = "problem"  # the column of what went wrong, empty where nothing did
RESERVED = ("seed", PROBLEM, "settings", "place", "seeds", "problems")  # names that tables need themselves
MOST = 2**63 - 1


@dataclass(frozen=True)
class Parameter:
    """A setting: a `number`, an `integer` or a `word`; where `default` is None, `none` is a value too."""

    name: str
    kind: Literal["number", "integer", "word"]
    default: Value
    help: str = ""

    @property
    def is_number(self) -> bool:
        """Whether its values can be evenly spaced."""
        return self.kind != "word"

    def parse(self, text: str) -> Value:
        """From what was typed."""
        if text == "none" and self.default is None:
            return None
        if self.kind == "word":
            return text
        if self.kind == "integer":
            if not re.fullmatch("[+-]?[0-9]{1,18}", text):
                raise InvalidValueError(
                    f"{self.name}: expected a whole number, got {text!r}; try {self._example}"
                )
            return int(text)
        try:
            return self.of(float(text))
        except ValueError as error:
            if isinstance(error, InvalidValueError):
                raise
            raise InvalidValueError(
                f"{self.name}: expected a number, got {text!r}; try {self._example}"
            ) from None

    def of(self, value: object) -> Value:
        """From a value of Python, so that 1 and 1.0 are one gain."""
        if value is None and self.default is None:
            return None
        kinds: dict[str, type | tuple[type, ...]] = {"number": (float, int), "integer": int, "word": str}
        if isinstance(value, bool) or not isinstance(value, kinds[self.kind]):
            raise InvalidTypeError(f"{self.name}: expected a {self.kind}, got {value!r}; try {self._example}")
        if self.kind == "number" and isinstance(value, float | int):
            if not math.isfinite(value):
                raise InvalidValueError(
                    f"{self.name}: expected a finite number, got {value}; try {self._example}"
                )
            return float(value) + 0.0  # no -0.0
        if self.kind == "integer" and isinstance(value, int) and abs(value) > MOST:
            raise InvalidValueError(f"{self.name}: expected at most {MOST}, got {value}; choose a smaller one")
        return value if isinstance(value, int | str) else None

    @property
    def _example(self) -> str:
        if self.default is not None:
            return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)
        return {"number": "0.5", "integer": "64", "word": "none"}[self.kind]


@dataclass(frozen=True)
class Column:
    """What a row says: a `number` (None where there is none), a `flag` that is 0 or 1, or a `word`.

    `what` it is and its `unit` stand at a picture; `centred`: 0 parts two kinds of networks, so colours meet there.
    """

    name: str
    what: str
    unit: str = ""
    kind: Literal["number", "flag", "word"] = "number"
    centred: bool = False

    @property
    def label(self) -> str:
        """For an axis or a bar of colours."""
        return f"{self.what} ({self.unit})" if self.unit else self.what


@dataclass(frozen=True)
class Theory:
    """Where the column shown crosses 0 by theory: at the value `at(settings)` of the setting `over`, or None."""

    over: str
    name: str
    at: Callable[[Settings], float | None]


@dataclass(frozen=True)
class Job:
    """A measurement that a sweep repeats. Its `version` goes up when other numbers come out of the same settings.

    `check(settings)` raises for what cannot be measured, and takes no time; `measure(settings, seed)` gives a value
    for each of the `columns`, or `{"problem": "..."}` where the network itself made NaN or inf. `shown` is the column
    of the picture.
    """

    name: str
    version: int
    what: str
    parameters: tuple[Parameter, ...]
    columns: tuple[Column, ...]
    shown: str
    check: Callable[[Settings], None]
    measure: Callable[[Settings, int], Mapping[str, Any]]
    theory: Theory | None = None

    def __post_init__(self) -> None:
        names = [*(each.name for each in self.parameters), *(each.name for each in self.columns)]
        wrong = [name for name in names if not name.isidentifier() or name in RESERVED or names.count(name) > 1]
        if wrong:
            raise InvalidValueError(f"job {self.name}: expected names of its own, each once, got {wrong[0]!r}")
        if not self.name.isidentifier():
            raise InvalidValueError(f"job: expected a name of letters, digits and _, got {self.name!r}")
        if self.column(self.shown).kind == "word":
            raise InvalidValueError(f"job {self.name}: expected numbers to show, got the words of {self.shown}")

    def parameter(self, name: str) -> Parameter:
        """The one of that name. Raises `InvalidValueError` where there is none."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        names = ", ".join(parameter.name for parameter in self.parameters)
        raise InvalidValueError(f"{self.name}: expected a setting of {names}, got {name!r}; name one of them")

    def column(self, name: str) -> Column:
        """The same of a column."""
        for column in self.columns:
            if column.name == name:
                return column
        names = ", ".join(column.name for column in self.columns)
        raise InvalidValueError(f"{self.name}: expected a column of {names}, got {name!r}; name one of them")

    def axis(self, text: str) -> Axis:
        """From `gain=0.5:2:16`, `noise=0,0.1` or `cell=gru,lstm`."""
        name, values = name_and_values(text, "--over")
        parameter = self.parameter(name)
        return Axis(name, parse_values(name, values, parameter.parse, parameter.is_number))

    def setting(self, text: str) -> tuple[str, Value]:
        """From `hidden=128`."""
        name, value = name_and_values(text, "--set")
        return name, self.parameter(name).parse(value)

    def settings(self, given: Settings) -> dict[str, Value]:
        """All settings: what was given, and the defaults."""
        chosen = {parameter.name: parameter.default for parameter in self.parameters}
        return chosen | {name: self.parameter(name).of(value) for name, value in given.items()}

    def row(self, settings: Settings, seed: int) -> Row:
        """One measurement, with every column there: None for what has no value."""
        found = self.measure(settings, seed)
        for name in found:
            if name != PROBLEM:
                self.column(name)
        row: Row = {column.name: _plain(column, found.get(column.name)) for column in self.columns}
        return {**row, PROBLEM: str(found.get(PROBLEM) or "")}


def failed(job: Job, problem: str) -> Row:
    """The row of a measurement that gave nothing but a problem."""
    return {**dict.fromkeys(column.name for column in job.columns), PROBLEM: " ".join(problem.split())}


def _plain(column: Column, value: Any) -> Value:
    """A value as files hold it; NaN, which they do not hold, is no value."""
    if value is None:
        return None
    if column.kind == "word":
        return str(value)
    if column.kind == "flag":
        return int(bool(value))
    number = float(value) + 0.0  # no -0.0, which SQLite does not know
    return None if math.isnan(number) else number
