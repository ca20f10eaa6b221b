"""Which modules of a model are recurrent: torch's own, and the cells that somebody names."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from unrolled.cells.build import Unrolled
from unrolled.errors import InvalidTypeError, InvalidValueError

FUSED = (nn.RNN, nn.GRU, nn.LSTM)  # run a whole sequence in one call
STEPPED = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)  # run one step

Cells = type[nn.Module] | nn.Module | Sequence[type[nn.Module] | nn.Module]


@dataclass(frozen=True, eq=False)
class Target:
    """A module whose calls are caught, and how its results are labelled: as `layer` and `direction` of `name`."""

    name: str
    module: nn.Module
    layer: int = 0
    direction: str = "forward"
    named_by_user: bool = False

    @property
    def fused(self) -> bool:
        """Whether a call runs a whole sequence by torch's own recurrence."""
        return isinstance(self.module, FUSED) and not self.named_by_user


def targets_of(model: Any, cells: Cells = ()) -> tuple[Target, ...]:
    """The recurrent modules and cells of a model, in the order of its modules.

    `cells` are classes or instances that are cells besides torch's own. Raises where there is nothing to look at.
    """
    if not isinstance(model, nn.Module):
        raise InvalidTypeError(f"model: expected an nn.Module, got {type(model).__name__}; pass a module")
    classes, instances = _named(cells)
    found: list[Target] = []
    inside: set[nn.Module] = set()  # a cell may be made of others, which are its own affair
    for path, module in model.named_modules():
        if module in inside:
            continue
        name = path or type(module).__name__
        if isinstance(module, Unrolled):
            label = path or type(module.cells[0]).__name__
            found += [Target(label, cell, layer, way, True) for layer, way, cell in module.each()]
            inside.update(module.modules())
        elif isinstance(module, classes) or module in instances:
            _check_takes_state(name, module)
            found.append(Target(name, module, named_by_user=True))
            inside.update(part for part in module.modules() if part is not module)
        elif isinstance(module, FUSED + STEPPED):
            found.append(Target(name, module))
    known = {target.module for target in found}
    for wanted in (*classes, *instances):
        if not any(m is wanted or (isinstance(wanted, type) and isinstance(m, wanted)) for m in known):
            label = wanted.__name__ if isinstance(wanted, type) else f"that {type(wanted).__name__}"
            raise InvalidValueError(
                f"cells: expected cells that are part of the model, got {label}, which {type(model).__name__} does "
                "not contain; assign it to an attribute of the model"
            )
    if not found:
        raise InvalidValueError(
            f"model: expected an nn.RNN, nn.GRU, nn.LSTM or one of their cells inside, got {type(model).__name__} "
            "without one; name your own cells by cells=MyCell, or use unrolled.step_gradient_flow for a function"
        )
    return tuple(found)


def check_called(targets: Sequence[Target], called: Iterable[Target]) -> None:
    """Raise where a forward pass called no target, or none of a kind that the user named."""
    kinds = {type(target.module) for target in called}
    if not kinds:
        raise InvalidValueError(
            "model: expected a forward that calls its recurrent module, got none that did; pass the module itself"
        )
    for target in never_called(targets, kinds):
        raise InvalidValueError(
            f"cells: expected cells that the forward calls, got {type(target.module).__name__} ({target.name!r}), "
            "which it never did; leave it out, or pass an input that reaches it"
        )


def never_called(targets: Sequence[Target], kinds: Collection[type[nn.Module]]) -> list[Target]:
    """The targets that the user named whose kind is not among those that were called."""
    return [target for target in targets if target.named_by_user and type(target.module) not in kinds]


def _check_takes_state(name: str, cell: nn.Module) -> None:
    parameters = list(inspect.signature(type(cell).forward).parameters.values())[1:]  # without self
    if len(parameters) < 2 and not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        raise InvalidValueError(
            f"cells: expected a cell that is called as cell(x_t, state), got {type(cell).__name__} ({name!r}), whose "
            "forward takes no state; give it a second argument, and return what that is at the next step"
        )


def _named(cells: Cells) -> tuple[tuple[type[nn.Module], ...], list[nn.Module]]:
    """The classes and the instances among `cells`."""
    given = list(cells) if isinstance(cells, tuple | list) else [cells]
    for cell in given:
        is_class = isinstance(cell, type) and issubclass(cell, nn.Module)
        if not is_class and not isinstance(cell, nn.Module):
            raise InvalidTypeError(
                f"cells: expected an nn.Module class or instance, or a tuple of them, got {cell!r}; pass the class "
                "of the cell"
            )
    classes = tuple(cell for cell in given if isinstance(cell, type))
    return classes, [cell for cell in given if isinstance(cell, nn.Module)]
