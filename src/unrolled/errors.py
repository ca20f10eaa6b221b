"""Every error that unrolled raises on purpose.

    UnrolledError
    ├── InvalidValueError (ValueError)           a size, name, option or tensor that is out of range
    │   └── NonFiniteError                       a network or its loss produced NaN or inf
    ├── InvalidTypeError (TypeError)             a value of a kind that cannot be used here
    ├── DeviceUnavailableError (RuntimeError)    a device was asked for that this machine does not have
    ├── ImplementationError (TypeError)          a plug-in that cannot be imported, called or compared
    ├── MissingPackageError (ImportError)        a package that an extra brings and that is not installed
    ├── OutOfMemoryError (MemoryError)           sizes that no memory here holds
    ├── TimeLimitError (TimeoutError)            what took longer than it was given
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


class MissingPackageError(UnrolledError, ImportError):
    """A package that comes with an extra of unrolled, and that is not installed."""


class OutOfMemoryError(UnrolledError, MemoryError):
    """Sizes that the memory of this machine, or of its device, cannot hold."""


class TimeLimitError(UnrolledError, TimeoutError):
    """What took longer than it was given."""


class ResultFileError(UnrolledError, ValueError):
    """A results file that is missing, damaged or of another version."""


# How torch, its libraries, numpy and Python say that memory ran out, or that a size is beyond any memory.
_SAID_OF_MEMORY = (
    "out of memory",
    "an't allocate memory",
    "ot enough memory",
    "Cannot allocate memory",
    "DefaultCPUAllocator",
    "bad_alloc",
    "bad allocation",
    "ALLOC_FAILED",
    "calculation overflowed",
    "multiplication overflow",
    "Overflow when unpacking long",
    "array is too big",
    "Maximum allowed dimension exceeded",
    "too large to convert to C",
    "index-sized integer",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or on CUDA, or that sizes are beyond any memory."""
    names = {kind.__name__ for kind in type(error).__mro__}  # torch's own, where torch is imported
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names:
        return True
    return any(words in str(error) for words in _SAID_OF_MEMORY)


def out_of_memory(what: str, error: BaseException) -> OutOfMemoryError:
    """The one for `what`, said in a line, from whatever said so."""
    said = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
    return OutOfMemoryError(f"{what}: expected one that fits into memory, got {said}; choose smaller sizes")
