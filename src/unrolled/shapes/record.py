"""What was found out about configurations: frozen records, and their frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from unrolled.environment import Environment
from unrolled.networks.options import PLAIN
from unrolled.results.codec import Count, Positive, require
from unrolled.results.record import Record
from unrolled.shapes.configuration import Configuration
from unrolled.shapes.expected import check_description
from unrolled.shapes.gates import Rows

# Fused kernels add in another order and round in other places; more than this many times is another result.
ROUNDINGS = 64

PARAMETER_COLUMNS = (
    "configuration", "name", "pattern", "number", "layer", "direction", "shape", "count", "gates", "rows",
)  # fmt: skip

Shape = tuple[Count, ...]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of `layer` (from 0) and `direction`: its shape, and which gate its rows are."""

    pattern: str  # the name with {} for `number`, such as weight_ih_l{}
    number: Count
    layer: Count
    direction: Literal["forward", "reverse"]
    shape: Shape
    rows: tuple[Rows, ...]

    @property
    def name(self) -> str:
        """As `named_parameters()` of the module gives it; `cells` is the list that holds several cells."""
        return self.pattern.format(self.number)

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Difference:
    """The largest difference of two entries of `quantity` (out or a part of the state), and its largest entry."""

    quantity: str
    largest: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class Description:
    """One configuration: how it is built, its parameters and shapes, and how far its counterpart is from it.

    `states`: the parts of the state, such as h and c, with one shape per module or cell. `epsilon` is the relative
    rounding of the arithmetic.
    """

    configuration: Configuration
    built: str
    compared_with: str
    parameters: tuple[Parameter, ...]
    input: Shape
    out: Shape
    states: dict[str, tuple[Shape, ...]]
    differences: tuple[Difference, ...]
    epsilon: Positive

    @property
    def h(self) -> tuple[Shape, ...]:
        """Of the hidden state; of none where a state has three parts or more."""
        return self.states.get("h", ())

    @property
    def c(self) -> tuple[Shape, ...]:
        """Of the cell state, the second of two parts."""
        return self.states.get("c", ())

    @property
    def count(self) -> int:
        """How many numbers all parameters hold."""
        return sum(parameter.count for parameter in self.parameters)

    @property
    def worst(self) -> Difference:
        """The largest of the differences; NaN is the worst there is."""
        return max(self.differences, key=lambda d: math.inf if math.isnan(d.largest) else d.largest)

    @property
    def agrees(self) -> bool:
        """Whether rounding explains every difference; NaN and inf are never explained."""
        return all(d.largest <= ROUNDINGS * self.epsilon * d.scale for d in self.differences)

    def check(self) -> None:
        """Raise `ValueError` for what no module or loop of this configuration has."""
        check_description(self)


def _from_version_2(fields: dict[str, Any]) -> None:
    """It had what follows from the rest beside it."""
    fields["descriptions"] = fields.pop("configurations")
    for description in fields["descriptions"]:
        for name in ("name", "count", "agrees"):
            del description[name]
        for parameter in description["parameters"]:
            del parameter["name"], parameter["count"]


def _from_version_3(fields: dict[str, Any]) -> None:
    """Some options of a workload stood beside it."""
    for description in fields["descriptions"]:
        configuration = description["configuration"]
        for name in ("bias", "batch_first", "proj_size"):
            if (value := configuration.pop(name)) != PLAIN[name]:
                configuration["workload"][name] = value


@dataclass(frozen=True, repr=False)
class Shapes(Record):
    """The descriptions of several configurations, and the machine that computed their differences."""

    FORMAT, VIEW = "unrolled.shapes", "shapes"
    VERSION = 4  # 2: `descriptions` were `configurations`, with names and counts; 3: layout beside the workload
    UPGRADES = MappingProxyType({2: _from_version_2, 3: _from_version_3})

    descriptions: tuple[Description, ...]
    environment: Environment

    def check(self) -> None:
        """Raise `ValueError` unless there is something, and all of it is of different configurations."""
        configurations = {description.configuration for description in self.descriptions}
        require(0 < len(self.descriptions) == len(configurations), "descriptions of different configurations")

    @property
    def agree(self) -> bool:
        """Whether every module and its loop agree to rounding."""
        return all(description.agrees for description in self.descriptions)

    def frame(self) -> pd.DataFrame:
        """A row per configuration; shapes as text, several of them with `; ` in between."""
        return pd.DataFrame([_row(description) for description in self.descriptions])

    def parameter_frame(self) -> pd.DataFrame:
        """A row per parameter; `rows` such as `0:20 i, 20:40 f, 40:60 g, 60:80 o`."""
        return pd.DataFrame(
            [
                {
                    "configuration": description.configuration.name,
                    "name": parameter.name,
                    "pattern": parameter.pattern,
                    "number": parameter.number,
                    "layer": parameter.layer,
                    "direction": parameter.direction,
                    "shape": str(parameter.shape),
                    "count": parameter.count,
                    "gates": " ".join(rows.gate for rows in parameter.rows),
                    "rows": ", ".join(f"{rows.start}:{rows.stop} {rows.gate}" for rows in parameter.rows),
                }
                for description in self.descriptions
                for parameter in description.parameters
            ],
            columns=PARAMETER_COLUMNS,
        )

    def summary(self) -> str:
        """Whether modules and loops agree, a sentence in a line."""
        odd = [d for d in self.descriptions if not d.agrees]
        said = [
            f"{d.built} and {d.compared_with} differ by {d.worst.largest:.1e} in {d.worst.quantity}: "
            f"more than rounding explains."
            for d in odd
        ]
        worst = max(self.descriptions, key=lambda d: d.worst.largest)
        if not odd and not worst.worst.largest:
            said.append("Every module agrees with its loop bit for bit.")
        elif not odd:
            dtype = worst.configuration.workload.dtype
            said.append(
                f"Every module agrees with its loop to rounding: the largest difference is "
                f"{worst.worst.largest:.1e}, in {worst.worst.quantity} of {worst.built}; one rounding of "
                f"{dtype} near 1 is {worst.epsilon:.1e}."
            )
        if any(d.configuration.workload.proj_size for d in self.descriptions):
            said.append(
                "torch.nn has no LSTMCell with proj_size: the loop is its equations, written out gate by gate."
            )
        return "\n".join(said)


def _row(description: Description) -> dict[str, Any]:
    configuration = description.configuration
    work = configuration.workload
    first = description.parameters[0].rows if description.parameters else ()
    return {
        "name": configuration.name,
        "built": description.built,
        "compared_with": description.compared_with,
        "form": configuration.form,
        "cell": work.cell_name,
        "gates": ", ".join(f"{rows.gate} the {rows.meaning}" for rows in first),
        "input_size": work.input_size,
        "hidden_sizes": "; ".join(map(str, work.hidden_sizes)),
        "proj_size": work.proj_size,
        "num_layers": work.layers,
        "bidirectional": work.bidirectional,
        "seq_len": work.seq_len,
        "batch_size": work.batch_size,
        "batched": configuration.batched,
        "batch_first": work.batch_first,
        "parameters": description.count,
        "input": str(description.input),
        "out": str(description.out),
        "states": " ".join(description.states),
        **{
            name: "; ".join(map(str, description.states.get(name, ())))
            for name in ("h", "c", *description.states)
        },
        "difference": description.worst.largest,
        "difference_in": description.worst.quantity,
        "agrees": description.agrees,
    }
