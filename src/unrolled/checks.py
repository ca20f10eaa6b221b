"""Checks that many arguments need, in the same words."""

from __future__ import annotations

from unrolled.errors import InvalidTypeError, InvalidValueError

MOST_THREADS = 1024  # with many more, OpenMP ends the process
LARGEST = 2**63 - 1  # torch's sizes are integers of 64 bits


def check_size(name: str, value: object) -> None:
    """Raise unless `value` is an integer of at least 1 and at most `LARGEST`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTypeError(f"{name}: expected an integer of at least 1, got {value!r}")
    if value < 1:
        raise InvalidValueError(f"{name}: expected an integer of at least 1, got {value}")
    if value > LARGEST:
        raise InvalidValueError(
            f"{name}: expected an integer of at most {LARGEST:,}, got {value}; choose a smaller one"
        )


def check_threads(name: str, value: object) -> None:
    """Raise unless `value` is a number of threads that a process can have."""
    check_size(name, value)
    if isinstance(value, int) and value > MOST_THREADS:
        raise InvalidValueError(f"{name}: expected at most {MOST_THREADS} threads, got {value}; choose fewer")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise unless `value` is one of `choices`; the message lists them."""
    if value not in choices:
        raise InvalidValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
