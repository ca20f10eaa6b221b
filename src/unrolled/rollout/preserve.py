"""A look at a model leaves it as it was: weights, buffers, what it keeps on itself, and the random state."""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from functools import partial, wraps
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

DEPTH = 4  # containers within containers that are looked into

Look = TypeVar("Look", bound=Callable[..., Any])  # what looks at a model, its first argument
Restore = Callable[[], object]


class Preserved:
    """The weights, buffers, attributes and random state of a model as they are now, to be put back by `restore`.

    Tensors and arrays keep their identity and get their values back. Of lists, deques, dicts, sets and dataclasses
    the content is put back, and so are the states of generators among them; other objects are put back as they are.
    The global random states are those of Python, numpy and torch, on the CPU and on every CUDA device in use.
    """

    def __init__(self, model: nn.Module) -> None:
        self._seen: set[int] = set()
        self._restores: list[Restore] = []
        for module in model.modules():
            if isinstance(module, torch.jit.ScriptModule):
                self._keep([*module.parameters(), *module.buffers()], DEPTH)
            else:
                self._keep(module.__dict__, DEPTH)
        self._python, self._numpy, self._cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        cuda: Any = torch.cuda
        self._cuda = cuda.get_rng_state_all() if cuda.is_initialized() else None

    def _keep(self, value: Any, depth: int) -> None:
        """Note how to put a value back, and all that is in it."""
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        restore = _restore_of(value)
        if restore is not None:
            self._restores.append(restore)
        for part in _parts_of(value) if depth else ():
            self._keep(part, depth - 1)

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back."""
        for restore in self._restores:
            restore()
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state_all(self._cuda)


def _restore_of(value: Any) -> Restore | None:
    """What puts back the content of `value` as it is now; None for what has none, or none that can change."""
    if isinstance(value, Tensor):
        return _restore_of_tensor(value)
    if isinstance(value, np.ndarray) and value.flags.writeable:
        return partial(np.copyto, value, value.copy())
    if isinstance(value, torch.Generator):
        return partial(value.set_state, value.get_state())
    if isinstance(value, np.random.Generator):
        return partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    content = vars(value) if _is_record(value) else value
    if isinstance(content, list | deque | dict | set):
        return partial(_refill, content, copy.copy(content))
    return None


def _restore_of_tensor(tensor: Tensor) -> Restore | None:
    if tensor.is_inference() or tensor.is_meta or torch.nn.parameter.is_lazy(tensor):
        return None
    value, version, trained = tensor.detach().clone(), tensor._version, tensor.requires_grad

    def restore() -> None:
        # Not every write counts as a version: batch norm's statistics do not. And by `.data`, this one does not, which
        # would spoil a graph that has saved the tensor.
        dense = tensor.layout == torch.strided
        if tensor._version != version or (dense and not torch.equal(tensor, value)):
            tensor.data.copy_(value)
        if tensor.is_leaf and tensor.requires_grad != trained:
            tensor.requires_grad_(trained)

    return restore


def _parts_of(value: Any) -> Iterable[Any]:
    """What a container holds; nothing for all else."""
    if _is_record(value):
        return tuple(vars(value).values())
    if isinstance(value, dict):
        return tuple(value.values())
    return tuple(value) if isinstance(value, list | tuple | deque | set) else ()


def _is_record(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type) and hasattr(value, "__dict__")


def _refill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, list | deque):
        container.extend(content)
    else:
        container.update(content)


def preserving(look: Look) -> Look:
    """A function that looks at a model, its first argument, as one that leaves the model as it was."""

    @wraps(look)
    def looking(model: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(model, nn.Module):  # to be refused
            return look(model, *args, **kwargs)
        with preserved(model):
            return look(model, *args, **kwargs)

    return cast(Look, looking)


@contextmanager
def preserved(model: nn.Module) -> Iterator[Preserved]:
    """Whatever happens inside, the model and the random state are afterwards as they were before."""
    before = Preserved(model)
    try:
        yield before
    finally:
        before.restore()
