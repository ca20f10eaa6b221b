"""The systems that have a spectrum: one layer and direction each, or a whole stack of layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from unrolled.errors import InvalidValueError

STACK = "stack"


@dataclass(frozen=True)
class System:
    """A recurrence with a state of `size` numbers per sample: `h`, or `(h, c)` for an LSTM.

    `layer` is None for the stack of all layers of a module, taken as one system.
    """

    module: str
    call: int
    layer: int | None
    direction: str
    size: int

    @property
    def name(self) -> str:
        """Which part of its module: `l0`, `l0.reverse`, or `stack`."""
        if self.layer is None:
            return STACK
        return f"l{self.layer}" if self.direction == "forward" else f"l{self.layer}.{self.direction}"

    @property
    def label(self) -> str:
        """A short name: `rnn.l0`, `encoder.l1.reverse`, `cell.call3.stack`."""
        module = f"{self.module}.call{self.call}" if self.call > 0 else self.module
        return f"{module}.{self.name}"

    def columns(self) -> dict[str, Any]:
        """The first columns of the tables."""
        return {"module": self.module, "call": self.call, "system": self.name}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in ("module", "call", "layer", "direction", "size")}


class Measurement:
    """Something measured of one system."""

    system: System


Part = TypeVar("Part", bound=Measurement)


@dataclass(frozen=True, eq=False)
class Collection(Generic[Part]):
    """What was measured of each system of a model.

    `parts`: one per system. `facts`: for each recurrent module, its sizes under `torch.nn`'s names and those of its
    input. `notes`: one sentence for each system that could not be measured.
    """

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

    def _fields(self, parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
        return {
            "facts": self.facts,
            "notes": list(self.notes),
            "systems": list(parts),
            "environment": self.environment,
        }
