"""A network that somebody else wrote: found by name, fed with its own input or a made one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.build import Unrolled
from unrolled.errors import ImplementationError, InvalidValueError, is_out_of_memory, out_of_memory
from unrolled.networks.memory import DRAWN, check_memory
from unrolled.networks.record import NetworkRecord
from unrolled.plugins import THEIRS, first_line, resolve
from unrolled.rollout.targets import Target, targets_of
from unrolled.torch_settings import settings_kept


@dataclass(frozen=True, eq=False)
class UserModel:
    """A model with its input, or with the sizes of a standard normal one; `cells` are those that are not torch's.

    A given tensor is cut for shorter lengths; an input that is no single tensor `(T, B, I)`, or `(B, T, I)`
    for a module that is `batch_first`, has its own length and no other.
    """

    name: str
    model: nn.Module
    inputs: Any = None
    batch_size: int = 16
    seq_len: int = 201
    seed: int = 0
    cells: tuple[type[nn.Module], ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The recurrent modules and cells in the model."""
        return targets_of(self.model, self.cells)

    @property
    def batch_first(self) -> bool:
        """Whether the recurrent modules read `(B, T, I)`."""
        return any(target.fused and target.module.batch_first for target in self.targets)

    @property
    def longest(self) -> int | None:
        """The most steps that the given input has; None where one is made, of any length."""
        if self.inputs is None:
            return None
        if isinstance(self.inputs, Tensor) and self.inputs.dim() in (1, 2, 3):
            return self.inputs.shape[self._time]
        return 0

    @property
    def batched(self) -> bool:
        """Whether the input has a batch dimension: numbers `(T, B, I)`, tokens `(T, B)`, or those `(B, T)`."""
        if not isinstance(self.inputs, Tensor):
            return True
        return self.inputs.dim() > (2 if self.inputs.is_floating_point() else 1)

    @property
    def _time(self) -> int:
        return 1 if self.batch_first and self.batched else 0

    def module(self) -> nn.Module:
        """The model itself."""
        return self.model

    def input(self, length: int | None = None) -> Any:
        """What the model is called with."""
        if self.inputs is not None:
            return self.inputs if length is None else self.inputs.narrow(self._time, 0, length)
        first: Any = self.model if isinstance(self.model, Unrolled) else self.targets[0].module
        if not isinstance(getattr(first, "input_size", None), int):
            raise InvalidValueError(
                f"model {self.name}: expected a recurrent module that says its input_size, got "
                f"{type(first).__name__}; let the factory return (model, input)"
            )
        generator = torch.Generator().manual_seed(self.seed + 1_000_003)  # as a workload's input
        shape = (length or self.seq_len, self.batch_size, first.input_size)
        like = next(first.parameters(), torch.empty(0))
        numbers = math.prod(shape)
        check_memory(f"an input {shape}", DRAWN * numbers, str(like.device), like.element_size() * numbers)
        values = torch.randn(shape, generator=generator, dtype=torch.float64).to(like)
        return values.transpose(0, 1) if self.batch_first else values

    def to(self, device: str | None, dtype: str | None) -> UserModel:
        """The same on another device or in another dtype; token inputs keep theirs. None changes nothing."""
        wanted = None if dtype is None else getattr(torch, dtype)
        inputs = self.inputs
        if isinstance(inputs, Tensor):
            inputs = inputs.to(device=device, dtype=wanted if inputs.is_floating_point() else None)
        return replace(self, model=self.model.to(device=device, dtype=wanted), inputs=inputs)

    def record(self) -> NetworkRecord:
        """What results say of it."""
        known: dict[str, Any] = {"name": self.name, "seed": self.seed, "model": type(self.model).__name__}
        if self.inputs is None:
            return NetworkRecord(**known, batch_size=self.batch_size, seq_len=self.seq_len)
        is_tensor = isinstance(self.inputs, Tensor)
        return NetworkRecord(
            **known, input=tuple(self.inputs.shape) if is_tensor else type(self.inputs).__name__
        )


def load_model(path: str, seed: int) -> tuple[nn.Module, Any]:
    """The model, and the input or None, that the factory at `package.module:factory` returns.

    Global settings of torch are afterwards as they were. Raises `ImplementationError` when it cannot be imported,
    raises, ends the process, or returns something else.
    """
    factory = resolve(path, "model")
    if not callable(factory):
        raise ImplementationError(
            f"model {path}: expected a function that returns a model, got {type(factory).__name__}; name one"
        )
    try:
        with settings_kept(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = factory()
    except THEIRS as error:
        if is_out_of_memory(error):
            raise out_of_memory(f"model {path}", error) from error
        raise ImplementationError(
            f"model {path}: expected {path.partition(':')[2]}() to return a model, got "
            f"{type(error).__name__}: {first_line(error)}; call it by itself to see where"
        ) from error
    model, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module):
        raise ImplementationError(
            f"model {path}: expected a factory that returns an nn.Module, or (nn.Module, input), got "
            f"{type(made).__name__}; return the module"
        )
    return model, inputs
