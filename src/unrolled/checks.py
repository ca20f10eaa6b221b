"""Checks that many arguments need, in the same words."""

from __future__ import annotations

from unrolled.errors import InvalidTypeError, InvalidValueError


def check_size(name: str, value: object) -> None:
    """Raise unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTypeError(f"{name}: expected an integer of at least 1, got {value!r}")
    if value < 1:
        raise InvalidValueError(f"{name}: expected an integer of at least 1, got {value}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise unless `value` is one of `choices`; the message lists them."""
    if value not in choices:
        raise InvalidValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
