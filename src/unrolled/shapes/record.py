"""What was found out about configurations: frozen records, their frames, and JSON there and back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from unrolled.environment import Environment
from unrolled.errors import ResultFileError
from unrolled.shapes.configuration import Configuration
from unrolled.shapes.gates import Rows

FORMAT = "unrolled.shapes"
VERSION = 2
# Fused kernels add in another order and round in other places; more than this many times is another result.
ROUNDINGS = 64

PARAMETER_COLUMNS = (
    "configuration", "name", "pattern", "number", "layer", "direction", "shape", "count", "gates", "rows",
)  # fmt: skip

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of `layer` (from 0) and `direction`: its shape, and which gate its rows are."""

    pattern: str  # the name with {} for `number`, such as weight_ih_l{}
    number: int
    layer: int
    direction: str
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
    epsilon: float

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

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, with names and counts."""
        found = asdict(self)
        for parameter, fields in zip(self.parameters, found["parameters"], strict=True):
            fields |= {"name": parameter.name, "count": parameter.count}
        for fields in found["differences"]:  # JSON has no numbers for NaN and inf
            fields |= {k: str(v) for k, v in fields.items() if isinstance(v, float) and not math.isfinite(v)}
        return found | {"name": self.configuration.name, "count": self.count, "agrees": self.agrees}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Description:
        """The inverse of `to_dict`, also after a trip through JSON."""
        return cls(
            configuration=Configuration.from_dict(fields["configuration"]),
            parameters=tuple(_parameter(parameter) for parameter in fields["parameters"]),
            differences=tuple(
                Difference(d["quantity"], float(d["largest"]), float(d["scale"])) for d in fields["differences"]
            ),
            input=tuple(fields["input"]),
            out=tuple(fields["out"]),
            states={name: tuple(map(tuple, shapes)) for name, shapes in fields["states"].items()},
            built=fields["built"],
            compared_with=fields["compared_with"],
            epsilon=fields["epsilon"],
        )


@dataclass(frozen=True)
class Shapes:
    """The descriptions of several configurations, and the machine that computed their differences."""

    descriptions: tuple[Description, ...]
    environment: Environment

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

    def to_json(self) -> str:
        """All of it, without a date: the same shapes give the same text."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "environment": self.environment.to_dict(),
            "configurations": [description.to_dict() for description in self.descriptions],
        }
        return json.dumps(content, allow_nan=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Shapes:
        """The inverse of `to_json`. Raises `ResultFileError` for anything else."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ResultFileError(f"shapes: expected JSON, got something else ({error})") from error
        found = (content.get("format"), content.get("version")) if isinstance(content, dict) else None
        if found != (FORMAT, VERSION):
            raise ResultFileError(f"shapes: expected {FORMAT} version {VERSION}, got {found}; run it again")
        try:
            return cls(
                tuple(Description.from_dict(fields) for fields in content["configurations"]),
                Environment(**content["environment"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ResultFileError(
                f"shapes: expected the fields of {FORMAT} version {VERSION}, "
                f"got {type(error).__name__}: {error}; run it again"
            ) from error

    def summary(self) -> str:
        """Whether modules and loops agree, in a sentence or two."""
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
        if any(d.configuration.proj_size for d in self.descriptions):
            said.append(
                "torch.nn has no LSTMCell with proj_size: the loop is its equations, written out gate by gate."
            )
        return " ".join(said)


def _parameter(fields: dict[str, Any]) -> Parameter:
    return Parameter(
        **{name: fields[name] for name in ("pattern", "number", "layer", "direction")},
        shape=tuple(fields["shape"]),
        rows=tuple(Rows(**rows) for rows in fields["rows"]),
    )


def _row(description: Description) -> dict[str, Any]:
    configuration = description.configuration
    work = configuration.workload
    return {
        "name": configuration.name,
        "built": description.built,
        "compared_with": description.compared_with,
        "form": configuration.form,
        "cell": work.cell_name,
        "gates": ", ".join(f"{rows.gate} the {rows.meaning}" for rows in description.parameters[0].rows),
        "input_size": work.input_size,
        "hidden_sizes": "; ".join(map(str, work.hidden_sizes)),
        "proj_size": configuration.proj_size,
        "num_layers": work.layers,
        "bidirectional": work.bidirectional,
        "seq_len": work.seq_len,
        "batch_size": work.batch_size,
        "batched": configuration.batched,
        "batch_first": configuration.batch_first,
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
