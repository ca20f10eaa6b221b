"""An axis of a grid: a setting, and the values that it takes one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from unrolled.errors import InvalidTypeError, InvalidValueError

Value = float | int | str | None  # of a setting, and of a result

FORMS = {"--over": "NAME=START:STOP:COUNT or NAME=A,B,...", "--set": "NAME=VALUE"}
EXAMPLES = {"--over": "gain=0.5:2:16", "--set": "hidden=128"}
DIGITS = 12  # significant ones of evenly spaced values, so that 0.5:2:16 holds 0.6 and not 0.6000000000000001
MOST_VALUES = 100_000


@dataclass(frozen=True)
class Axis:
    """`values` of the setting `name`, at least two, each once, in their order. Raises `InvalidValueError` otherwise."""

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise InvalidValueError(
                f"axis: expected the name of a setting, got {self.name!r}; try gain=0.5,1,2"
            )
        for value in self.values:
            if isinstance(value, bool) or not isinstance(value, float | int | str | None):
                raise InvalidTypeError(f"axis {self.name}: expected numbers or words, got {value!r}")
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidValueError(f"axis {self.name}: expected finite numbers, got {value}; leave it out")
        if len(self.values) < 2:
            got = shown(self.values[0]) if self.values else "none"
            raise InvalidValueError(
                f"axis {self.name}: expected at least two values, got {got}; one value is a setting, not an axis"
            )
        if len(self.values) > MOST_VALUES:
            raise InvalidValueError(
                f"axis {self.name}: expected at most {MOST_VALUES:,} values, got {len(self.values):,}; take fewer"
            )
        twice = next((value for k, value in enumerate(self.values) if value in self.values[:k]), "")
        if len(set(self.values)) < len(self.values):
            raise InvalidValueError(
                f"axis {self.name}: expected each value once, got {shown(twice)} twice; leave one out"
            )

    @property
    def is_numeric(self) -> bool:
        """Whether its values are numbers, which have a place on a line."""
        return all(isinstance(value, float | int) for value in self.values)

    def check(self) -> None:
        """All that can be wrong is found when it is made."""

    def __str__(self) -> str:
        if len(self.values) <= 4:
            return f"{self.name} {', '.join(map(shown, self.values))}"
        return f"{self.name} {shown(self.values[0])} to {shown(self.values[-1])} ({len(self.values)})"


def shown(value: Value) -> str:
    """A value as one types it: `0.1`, `64`, `gru`, `none`."""
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def typed(value: Value) -> str:
    """The same with every digit, for a line that is typed again."""
    return repr(value) if isinstance(value, float) and float(shown(value)) != value else shown(value)


def name_and_values(text: str, option: str) -> tuple[str, str]:
    """The two sides of `gain=0.5:2:16`."""
    name, sign, values = text.partition("=")
    if not (name.strip() and sign and values.strip()):
        raise InvalidValueError(f"{option}: expected {FORMS[option]}, got {text!r}; try {EXAMPLES[option]}")
    return name.strip().replace("-", "_"), values.strip()


def parse_values(name: str, text: str, parse: Callable[[str], Value], ranges: bool) -> tuple[Value, ...]:
    """The values of `0.5:2:16` where `ranges` of numbers are meant, else of `a,b,c`; `parse` reads one."""
    if ranges and ":" in text:
        return _spaced(name, text, parse)
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise InvalidValueError(f"axis {name}: expected values with commas in between, got {text!r}")
    return tuple(parse(word) for word in words)


def _spaced(name: str, text: str, parse: Callable[[str], Value]) -> tuple[Value, ...]:
    """Evenly spaced numbers, both ends included."""
    words = [word.strip() for word in text.split(":")]
    count = int(words[2]) if len(words) == 3 and words[2].isdecimal() and len(words[2]) < 10 else 0
    if count < 2:
        raise InvalidValueError(
            f"axis {name}: expected START:STOP:COUNT with a COUNT of at least 2, got {text!r}; try 0.5:2:16"
        )
    if count > MOST_VALUES:
        raise InvalidValueError(
            f"axis {name}: expected at most {MOST_VALUES:,} values, got {count:,}; take fewer"
        )
    try:
        start, stop = (float(word) for word in words[:2])
    except ValueError:
        raise InvalidValueError(f"axis {name}: expected numbers, got {text!r}; try 0.5:2:16") from None
    if not (math.isfinite(start) and math.isfinite(stop)):
        raise InvalidValueError(f"axis {name}: expected finite numbers, got {text!r}; try 0.5:2:16")
    places = (start + (stop - start) * k / (count - 1) for k in range(count))
    return tuple(parse(_tidy(place)) for place in places)


def _tidy(number: float) -> str:
    rounded = float(f"{number:.{DIGITS}g}")
    return str(int(rounded)) if rounded.is_integer() and abs(rounded) < 2**53 else repr(rounded)
