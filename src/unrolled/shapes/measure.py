"""Build a configuration, run it, and compare it with its counterpart of the same weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.build import Unrolled
from unrolled.cells.own import paths_of
from unrolled.environment import Environment
from unrolled.implementations import implement, load
from unrolled.implementations.cells import Cells
from unrolled.networks.stack import Stack
from unrolled.networks.subject import their_errors
from unrolled.networks.textbook import Network
from unrolled.shapes.configuration import Configuration
from unrolled.shapes.expected import TF32_EPSILON
from unrolled.shapes.gates import rows_of
from unrolled.shapes.own_loop import OwnLoop
from unrolled.shapes.projected import ProjectedLoop
from unrolled.shapes.record import Description, Difference, Parameter, Shapes

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def measure(
    configurations: Sequence[Configuration],
    *,
    before: Callable[[str], object] = lambda name: None,
    after: Callable[[], object] = lambda: None,
) -> Shapes:
    """Describe every configuration; `before` is told which one comes, `after` is called when it is done."""
    found = []
    for configuration in configurations:
        before(configuration.name)
        found.append(describe(configuration))
        after()
    return Shapes(tuple(found), Environment.without_load())


def loop_of(reference: nn.Module) -> nn.Module:
    """The loop over time with the parameters of `reference`: cells, or the equations where it projects."""
    if isinstance(reference, Stack):
        return Stack([loop_of(layer) for layer in reference.layers])
    if isinstance(reference, Unrolled):
        return OwnLoop(reference)
    if isinstance(reference, nn.RNNBase) and reference.proj_size:
        return ProjectedLoop(reference)
    return implement(load("cells"), reference)


def describe(configuration: Configuration, loop: Callable[[nn.Module], nn.Module] = loop_of) -> Description:
    """Parameters, shapes, and how far module and loop are apart when both start from one random state.

    `loop` makes the loop from the fused module; give another to see whether the comparison finds its mistakes.
    """
    reference = configuration.reference()
    stepped = loop(reference)
    x, network = configuration.input(), Network(name=configuration.name, workload=configuration.workload)
    with their_errors(network, x):
        state = configuration.state(reference)
    with their_errors(network, x), torch.inference_mode(), warnings.catch_warnings():
        # A note on speed only: oneDNN leaves projections to torch.
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
        fused, cells = (
            _quantities(_run(module, x, state, configuration.workload.seed), configuration.is_chain)
            for module in (reference, stepped)
        )
    is_loop = configuration.form == "cells"
    own, other = (cells, fused) if is_loop else (fused, cells)
    states = own
    if is_loop:  # a cell returns the state of its own layer and direction; a fused module stacks them all
        states = {name: [part for stacked in own[name] for part in stacked] for name in own}
    return Description(
        configuration=configuration,
        built=configuration.built,
        compared_with=configuration.replace(form="fused" if is_loop else "cells").built,
        parameters=tuple(_parameters(configuration, stepped if is_loop else reference)),
        input=tuple(x.shape),
        out=tuple(own["out"][0].shape),
        states={name: tuple(tuple(p.shape) for p in parts) for name, parts in states.items() if name != "out"},
        differences=tuple(_difference(name, own[name], other[name]) for name in own),
        epsilon=_epsilon(configuration),
    )


def _run(module: nn.Module, x: Tensor, state: Any, seed: int) -> tuple[Tensor, Any]:
    """One call, in which a cell that draws random numbers draws those of `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        result: tuple[Tensor, Any] = module(x, state)
    return result


def _quantities(result: tuple[Tensor, Any], is_chain: bool) -> dict[str, list[Tensor]]:
    """`out` and the parts of the state, such as `h` and `c`, by name; of a chain, those of every module."""
    out, final = result
    states = [(state,) if isinstance(state, Tensor) else state for state in (final if is_chain else [final])]
    parts = [list(part) for part in zip(*states, strict=True)]
    return {"out": [out]} | dict(zip(paths_of(len(parts)), parts, strict=True))


def _difference(name: str, own: list[Tensor], other: list[Tensor]) -> Difference:
    """The largest difference of two entries, and the largest entry; infinite where the shapes differ."""
    if [a.shape for a in own] != [b.shape for b in other]:
        return Difference(name, float("inf"), 0.0)
    pairs = [
        tuple(part.to(torch.promote_types(part.dtype, torch.float64)) for part in two)
        for two in zip(own, other, strict=True)
    ]
    # `max` of a tensor is NaN where an entry is; that of Python may not be.
    largest = torch.stack([(a - b).abs().max() for a, b in pairs]).max()
    scale = torch.stack([a.abs().max() for a, _ in pairs]).max()
    return Difference(name, float(largest), float(scale))


def _wide(part: Tensor) -> Tensor:
    """In float64, or complex128."""
    return part.to(torch.promote_types(part.dtype, torch.float64))


def _epsilon(configuration: Configuration) -> float:
    """One rounding of the arithmetic that the fused module uses, relative."""
    work = configuration.workload
    if work.device.startswith("cuda") and work.dtype == "float32" and torch.backends.cudnn.allow_tf32:
        return TF32_EPSILON
    return torch.finfo(getattr(torch, work.dtype)).eps


def _parameters(configuration: Configuration, module: nn.Module) -> Iterator[Parameter]:
    """Every parameter: layer by layer, forward before reverse, under the name that its module gives it."""
    work = configuration.workload
    cells = work.layers * work.directions
    for k, part in enumerate(module.layers if isinstance(module, Stack) else [module]):
        if isinstance(part, Unrolled | OwnLoop):
            yield from _own_parameters(configuration, part, k)
            continue
        owners = _cells(part) if isinstance(part, Cells) else _layers(part)
        for owner, layer, direction, suffix in owners:
            layer += k
            for kind in KINDS:
                tensor = getattr(owner, kind + suffix, None)
                if tensor is None:
                    continue
                if isinstance(part, Cells):
                    pattern, number = "cells.{}." * (cells > 1) + kind, work.directions * layer + direction
                elif configuration.is_chain:
                    pattern, number = f"layers.{{}}.{kind}{suffix}", layer
                else:
                    pattern, number = f"{kind}_l{{}}{'_reverse' * direction}", layer
                yield Parameter(
                    pattern=pattern,
                    number=number,
                    layer=layer,
                    direction=("forward", "reverse")[direction],
                    shape=tuple(tensor.shape),
                    rows=rows_of(work.cell, kind, len(tensor)),
                )


def _own_parameters(
    configuration: Configuration, module: Unrolled | OwnLoop, module_number: int
) -> Iterator[Parameter]:
    """Those of cells that somebody else wrote: nobody knows of their gates."""
    directions = configuration.workload.directions
    by_itself = configuration.form == "cells" and configuration.workload.layers * directions == 1
    for k, cell in enumerate(module.cells):
        layer, direction = module_number + k // directions, k % directions
        for name, tensor in cell.named_parameters():
            pattern, number = "" if by_itself else "cells.{}.", directions * layer + direction
            if configuration.is_chain and configuration.form == "fused":
                pattern, number = f"layers.{{}}.cells.{k}.", layer
            yield Parameter(
                pattern=pattern + name,
                number=number,
                layer=layer,
                direction=("forward", "reverse")[direction],
                shape=tuple(tensor.shape),
                rows=(),
            )


def _cells(loop: Cells) -> Iterator[tuple[nn.Module, int, int, str]]:
    """Each cell, its layer and direction; the names of its parameters end in nothing."""
    directions = 2 if loop.reference.bidirectional else 1
    for k, cell in enumerate(loop.cells):
        yield cell, k // directions, k % directions, ""


def _layers(module: nn.Module) -> Iterator[tuple[nn.Module, int, int, str]]:
    """Each layer and direction of a fused module, and how the names of its parameters end."""
    fused = module.reference if isinstance(module, ProjectedLoop) else module
    for layer in range(fused.num_layers):  # type: ignore[arg-type]
        for direction in range(2 if fused.bidirectional else 1):
            yield fused, layer, direction, f"_l{layer}" + "_reverse" * direction
