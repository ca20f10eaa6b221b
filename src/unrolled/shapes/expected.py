"""What a description must say of its configuration: from the sizes alone, by what `torch.nn` documents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from unrolled.cells import GATES
from unrolled.results.codec import require
from unrolled.shapes.configuration import Configuration
from unrolled.shapes.gates import rows_of

if TYPE_CHECKING:
    from unrolled.shapes.record import Description, Parameter, Shape

DIRECTIONS = ("forward", "reverse")
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}
TF32_EPSILON = 2.0**-10  # cuDNN rounds the factors of float32 products to ten bits unless told otherwise


def check_description(found: Description) -> None:
    """Raise `ValueError` for what no module or loop of its configuration has.

    Of a cell that somebody else wrote only that is known which follows from layers and directions.
    """
    configuration = found.configuration
    work, is_loop = configuration.workload, configuration.form == "cells"
    require(found.built == configuration.built, f"that it is built as {configuration.built}")
    other = configuration.replace(form="fused" if is_loop else "cells").built
    require(found.compared_with == other, f"a comparison with {other}")
    (_check_own_parameters if work.is_own else _check_parameters)(found)
    require(found.input == configuration.input_shape, f"an input {configuration.input_shape}")
    out = (*configuration.input_shape[:-1], work.directions * configuration.state_sizes[-1])
    require(found.out == out, f"an output {out}")
    if work.is_own:
        leading = [sizes for _, sizes in _leading(configuration)]
        for shapes in found.states.values():
            require(len(shapes) == len(leading), "a state of each module or cell")
            batches = zip(shapes, leading, strict=True)
            require(all(shape[: len(sizes)] == sizes for shape, sizes in batches), f"states {leading}")
    else:
        widths = {"h": configuration.state_sizes} | ({"c": work.hidden_sizes} if work.cell == "lstm" else {})
        expected = {name: tuple(_states(configuration, sizes)) for name, sizes in widths.items()}
        require(found.states == expected and list(found.states) == list(expected), f"the states {expected}")
    named = [difference.quantity for difference in found.differences]
    require(named == ["out", *found.states] and len(named) > 1, "a difference of each output and state")
    for difference in found.differences:
        require(not difference.largest < 0 and not difference.scale < 0, "differences of at least 0")
    tf32 = work.device.startswith("cuda") and work.dtype == "float32" and found.epsilon == TF32_EPSILON
    require(tf32 or found.epsilon == EPSILON[work.dtype], f"a rounding of {work.dtype}")


def _leading(configuration: Configuration) -> Iterator[tuple[int, Shape]]:
    """Of each tensor of a state: its layer, and the sizes before its width."""
    work = configuration.workload
    batch = (work.batch_size,) if configuration.batched else ()
    if configuration.form == "cells":
        yield from ((layer, batch) for layer in range(work.layers) for _ in range(work.directions))
    elif configuration.is_chain:
        yield from ((layer, (work.directions, *batch)) for layer in range(work.layers))
    else:
        yield 0, (work.layers * work.directions, *batch)


def _states(configuration: Configuration, widths: tuple[int, ...]) -> Iterator[Shape]:
    for layer, leading in _leading(configuration):
        yield (*leading, widths[layer])


def _check_parameters(found: Description) -> None:
    """Those of torch's own cells are known in name, shape and rows."""
    expected = list(_expected_parameters(found.configuration))
    require(len(found.parameters) == len(expected), f"{len(expected)} parameters")
    for parameter, (labels, kind, shape) in zip(found.parameters, expected, strict=True):
        require(_labels(parameter) == labels, f"the parameter {labels}")
        rows = rows_of(found.configuration.workload.cell, kind, shape[0])
        require(parameter.shape == shape and parameter.rows == rows, f"{labels} of shape {shape}")


def _expected_parameters(
    configuration: Configuration,
) -> Iterator[tuple[tuple[str, int, int, str], str, Shape]]:
    """Labels, kind and shape of each, layer by layer, forward before reverse."""
    work = configuration.workload
    cells = work.layers * work.directions
    sizes = zip(work.layer_input_sizes, work.hidden_sizes, configuration.state_sizes, strict=True)
    for layer, (inputs, hidden, state) in enumerate(sizes):
        stacked = GATES[work.cell] * hidden
        shapes: dict[str, Shape] = {"weight_ih": (stacked, inputs), "weight_hh": (stacked, state)}
        if work.bias:
            shapes |= {"bias_ih": (stacked,), "bias_hh": (stacked,)}
        if work.proj_size:
            shapes["weight_hr"] = (state, hidden)
        for k, direction in enumerate(DIRECTIONS[: work.directions]):
            ending = "_reverse" * k
            for kind, shape in shapes.items():
                pattern, number = f"{kind}_l{{}}{ending}", layer
                if configuration.form == "cells" and not work.proj_size:
                    pattern, number = "cells.{}." * (cells > 1) + kind, work.directions * layer + k
                elif configuration.is_chain:
                    pattern = f"layers.{{}}.{kind}_l0{ending}"
                yield (pattern, number, layer, direction), kind, shape


def _check_own_parameters(found: Description) -> None:
    """Those of somebody's cell may be any, in the order of layers and directions, and nobody knows their gates."""
    configuration = found.configuration
    work = configuration.workload
    places = [(p.layer, DIRECTIONS.index(p.direction)) for p in found.parameters]
    require(places == sorted(places), "parameters layer by layer")
    require(len({p.name for p in found.parameters}) == len(places), "a name for each parameter")
    for parameter, (layer, k) in zip(found.parameters, places, strict=True):
        require(layer < work.layers and k < work.directions, f"a layer below {work.layers}")
        prefix, number = "cells.{}.", work.directions * layer + k
        if configuration.form == "cells" and work.layers * work.directions == 1:
            prefix = ""
        elif configuration.form == "fused" and configuration.is_chain:
            prefix, number = f"layers.{{}}.cells.{k}.", layer
        own = parameter.pattern.removeprefix(prefix)
        labels = (prefix + own, number, layer, DIRECTIONS[k])
        require(_labels(parameter) == labels and bool(own), f"the parameter {labels}")
        require("{" not in own and "}" not in own, "a name")
        require(parameter.rows == () and math.prod(parameter.shape) < 2**63, "a shape, and no gates")


def _labels(parameter: Parameter) -> tuple[str, int, int, str]:
    return parameter.pattern, parameter.number, parameter.layer, parameter.direction
