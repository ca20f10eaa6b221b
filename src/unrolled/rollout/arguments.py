"""What a model is called with: one argument, several, or some by name, however deep their tensors lie."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import InvalidValueError
from unrolled.rollout.nonfinite import is_finite


@dataclass(frozen=True, eq=False)
class Arguments:
    """A call of a model that can be made again: `arguments()` makes it."""

    model: Callable[..., Any]
    positional: tuple[Any, ...]
    by_name: dict[str, Any]

    @classmethod
    def of(cls, model: nn.Module, inputs: Any, state: Any = None) -> Arguments:
        """From what the user passed: a tuple is several arguments, a dict arguments by name.

        A dict is one argument where the model's forward has no parameters of those names; so is a named tuple.
        Raises where a tensor in it is empty, or holds NaN or inf.
        """
        more = () if state is None else (state,)
        if type(inputs) is tuple:
            positional, by_name = (*inputs, *more), {}
        elif isinstance(inputs, Mapping) and not more and _are_names(model, inputs):
            positional, by_name = (), dict(inputs)
        else:
            positional, by_name = (inputs, *more), {}
        _check((inputs,) if type(inputs) is not tuple else inputs)
        return cls(model, positional, by_name)

    def __call__(self) -> Any:
        """Call the model."""
        return self.model(*self.positional, **self.by_name)


def _are_names(model: nn.Module, inputs: Mapping[Any, Any]) -> bool:
    """Whether a call with these as keyword arguments fits the model's forward."""
    if not all(isinstance(name, str) for name in inputs):
        return False
    try:
        inspect.signature(model.forward).bind(**inputs)
    except (TypeError, ValueError):
        return False
    return True


def _check(inputs: tuple[Any, ...]) -> None:
    """Refuse tensors that are empty or hold NaN or inf."""
    for position, argument in enumerate(inputs):
        for tensor in tensors_in(argument):
            if tensor.is_meta:
                continue
            if tensor.numel() == 0 and position == 0:
                raise InvalidValueError(
                    f"inputs: expected at least one step and one sample, got {tuple(tensor.shape)}; pass a sequence"
                )
            if tensor.is_floating_point() and not is_finite(tensor.detach()):
                raise InvalidValueError(
                    f"inputs: expected finite numbers, got NaN or inf in argument {position}; clean the input"
                )


def tensors_in(value: Any, depth: int = 4) -> Iterator[Tensor]:
    """Every tensor in a value: inside lists, tuples, dicts, packed sequences, and the attributes of batch objects."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, PackedSequence):
        yield value.data
    elif depth == 0 or value is None or isinstance(value, str | bytes | int | float | nn.Module):
        return
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part, depth - 1)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from tensors_in(part, depth - 1)
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name), depth - 1)
    else:
        for part in getattr(value, "__dict__", {}).values():
            yield from tensors_in(part, depth - 1)
