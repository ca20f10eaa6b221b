"""Every error that unrolled raises on purpose.

    UnrolledError
    ├── InvalidValueError (ValueError)           a size, name, option or tensor that is out of range
    │   └── NonFiniteError                       a network or its loss produced NaN or inf
    ├── InvalidTypeError (TypeError)             a value of a kind that cannot be used here
    ├── DeviceUnavailableError (RuntimeError)    a device was asked for that this machine does not have
    ├── ImplementationError (TypeError)          a plug-in that cannot be imported, called or compared
    └── ResultFileError (ValueError)             a results file that is missing, damaged or of another version

A message says what was expected, what came and what to do, on one line. Commands turn an
`UnrolledError` into that line and exit status 2.
"""


class UnrolledError(Exception):
    """Base of every error below."""


class InvalidValueError(UnrolledError, ValueError):
    """A size, name, option or tensor that is out of range."""


class NonFiniteError(InvalidValueError):
    """The network or its loss produced NaN or inf; says in which module and layer, and first at which step.

    `step` counts from 0 in the order the direction runs.
    """

    def __init__(self, message: str, *, module: str, layer: int | None = None, step: int | None = None) -> None:
        super().__init__(message)
        self.module, self.layer, self.step = module, layer, step


class InvalidTypeError(UnrolledError, TypeError):
    """A value of a kind that cannot be used here."""


class DeviceUnavailableError(UnrolledError, RuntimeError):
    """A device was asked for that this machine does not have."""


class ImplementationError(UnrolledError, TypeError):
    """A plug-in implementation that cannot be imported, called or compared."""


class ResultFileError(UnrolledError, ValueError):
    """A results file that is missing, damaged or of another version."""
