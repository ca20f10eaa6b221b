"""A look at a model leaves it as it was: buffers, what it keeps on itself, and the random state."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Preserved:
    """The buffers, attributes and random state of a model as they are now, to be put back by `restore`.

    Tensors keep their identity and get their values back; of lists, dicts and sets the content is put back;
    other objects are put back as they are. Random states are those of the CPU and of every CUDA device in use.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [
            (module, dict(module.__dict__))
            for module in model.modules()
            if not isinstance(module, torch.jit.ScriptModule)
        ]
        self._contents = [
            (value, copy.copy(value))
            for _, attributes in self._modules
            for value in attributes.values()
            if isinstance(value, list | dict | set)
        ]
        self._tensors = [(tensor, tensor.detach().clone(), tensor._version) for tensor in self._kept_tensors()]
        self._cpu = torch.get_rng_state()
        cuda: Any = torch.cuda
        self._cuda = cuda.get_rng_state_all() if cuda.is_initialized() else None

    def _kept_tensors(self) -> Iterator[Tensor]:
        """Every buffer, and every tensor in an attribute; parameters are nobody's to change."""
        for module, attributes in self._modules:
            for value in (*module._buffers.values(), *attributes.values()):
                parts = value if isinstance(value, tuple | list) else (value,)
                yield from (
                    part
                    for part in parts
                    if isinstance(part, Tensor)
                    and not isinstance(part, nn.Parameter)
                    and not part.is_inference()
                )

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back."""
        for module, attributes in self._modules:
            module.__dict__.clear()
            module.__dict__.update(attributes)
        for container, content in self._contents:
            _refill(container, content)
        for tensor, value, version in self._tensors:
            if tensor._version != version:
                tensor.detach().copy_(value)
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state_all(self._cuda)


def _refill(container: Any, content: Any) -> None:
    if container is content:
        return
    container.clear()
    if isinstance(container, list):
        container.extend(content)
    else:
        container.update(content)


@contextmanager
def preserved(model: nn.Module) -> Iterator[Preserved]:
    """Whatever happens inside, the model and the random state are afterwards as they were before."""
    before = Preserved(model)
    try:
        yield before
    finally:
        before.restore()
