"""What the records of a spectrum share: a part for each system, and the sizes of the modules that these are of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import pandas as pd

from unrolled.environment import Environment
from unrolled.errors import InvalidValueError
from unrolled.observed.facts import Facts
from unrolled.observed.system import System
from unrolled.results.codec import require
from unrolled.results.record import Record


class Measurement(Protocol):
    """Something measured of one system."""

    @property
    def system(self) -> System:
        """The system."""

    @property
    def samples(self) -> int:
        """The number of samples, B."""

    def frame(self) -> pd.DataFrame:
        """The numbers as one tidy table."""

    def check_steps(self, steps: int) -> None:
        """Raise `ValueError` unless this can be from an input of so many steps."""


Part = TypeVar("Part", bound=Measurement)


@dataclass(frozen=True, eq=False, repr=False)
class SystemsRecord(Record, Generic[Part]):
    """What was measured of each system of a model.

    `parts`: one per system. `facts`: for each recurrent module, its sizes in its last call. `notes`: one sentence for
    each system that could not be measured. `environment` is None in a study, which has one for all.
    """

    parts: tuple[Part, ...]
    facts: dict[str, Facts]
    notes: tuple[str, ...]
    environment: Environment | None = None

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

    def check(self) -> None:
        """Raise `ValueError` for what are no systems of one model."""
        systems = [part.system for part in self.parts]
        require(
            len(systems) > 0 and len({system.label for system in systems}) == len(systems), "each system once"
        )
        require({system.module for system in systems} == self.facts.keys(), "facts of all modules")
        last = {part.system.module: part for part in self.parts}
        for name, part in last.items():
            facts = self.facts[name]
            require(part.samples == facts.batch_size, f"{facts.batch_size} samples of {name}")
            part.check_steps(facts.seq_len)
            facts.check_systems([system for system in systems if system.call_of == part.system.call_of])
        for system in systems:
            layers = [one.size for one in systems if one.call_of == system.call_of and one.layer is not None]
            require(system.layer is not None or system.size == sum(layers), f"the layers of {system.label}")
        for name in self.facts:
            calls = {system.call for system in systems if system.module == name}
            require(calls == set(range(len(calls))), f"calls of {name} from 0 up")


def check_increasing(numbers: np.ndarray, what: str) -> None:
    """Raise `ValueError` unless these are numbers of steps, each larger than the one before."""
    require(numbers.ndim == 1 and numbers.dtype.kind == "i" and len(numbers) > 0, f"{what} in whole steps")
    require(numbers[0] > 0 and (np.diff(numbers) > 0).all(), f"{what} that increase")
