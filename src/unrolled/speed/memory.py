"""Bytes: what a forward pass keeps for the backward pass, and the peak on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def saved_bytes(forward: Callable[[], object], owned: Iterable[Tensor]) -> int:
    """Bytes that `forward()` keeps alive for the backward pass: exact, the same at every call.

    Counted by storage, so that views of one buffer count once; `owned` tensors (parameters and input)
    exist anyway and do not count.
    """
    kept: list[Tensor] = []  # holds every saved tensor, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    exists_anyway = {tensor.untyped_storage().data_ptr() for tensor in owned}
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    del result
    return sum(size for address, size in storages.items() if address not in exists_anyway)


def peak_bytes(call: Callable[[], object]) -> int | None:
    """Most CUDA memory that `call()` held beyond what was held before it; `None` without CUDA."""
    if not torch.cuda.is_available():
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
