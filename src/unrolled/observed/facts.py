"""The sizes of what a spectrum is of."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unrolled.cells import cell_named
from unrolled.observed.system import System
from unrolled.results.codec import Count, Size, require
from unrolled.rollout.fused import DIRECTIONS


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The sizes of a recurrent module and of its input, under `torch.nn`'s names.

    A cell that is not torch's has a `state_size`, the numbers in its state, in place of the sizes from `input_size` on;
    a function has no `cell`, the name of its kind, either.
    """

    batch_size: Size
    seq_len: Size
    dtype: str
    device: str
    cell: str | None = None
    state_size: Size | None = None
    input_size: Size | None = None
    hidden_size: Size | None = None
    num_layers: Size | None = None
    bidirectional: bool | None = None
    proj_size: Count | None = None

    @property
    def is_fused(self) -> bool:
        """Whether it is one of torch's, run by its layers."""
        return self.state_size is None

    @property
    def system_size(self) -> int:
        """The numbers in the state of a layer and direction."""
        if self.state_size is not None:
            return self.state_size
        hidden = self.hidden_size or 0
        return sum(cell_named(self.cell or "").state_sizes(hidden, self.proj_size or 0))

    def check(self) -> None:
        """Raise `ValueError` unless the sizes are those of one kind of recurrence."""
        sizes = (self.input_size, self.hidden_size, self.num_layers, self.bidirectional, self.proj_size)
        require(None not in sizes if self.is_fused else sizes == (None,) * 5, "sizes of a module, or of a cell")
        require(isinstance(getattr(torch, self.dtype, None), torch.dtype), f"a dtype, got {self.dtype!r}")
        try:
            torch.device(self.device)
        except RuntimeError as error:
            raise ValueError(f"expected a device, got {self.device!r}") from error

    def check_systems(self, systems: list[System]) -> None:
        """Raise `ValueError` unless these are the systems of one call of this."""
        each = self.system_size
        layers = range(self.num_layers or 1)
        require(len(layers) <= len(systems), f"{len(layers)} layers")
        ways = DIRECTIONS if self.bidirectional else DIRECTIONS[:1]
        expected: list[tuple[int | None, str, int]] = [(layer, way, each) for layer in layers for way in ways]
        if len(layers) > 1 and not self.bidirectional:
            expected.append((None, DIRECTIONS[0], each * len(layers)))
        found = [(system.layer, system.direction, system.size) for system in systems]
        if len(expected) == 1:  # several cells may have one name, and each a layer and direction of it
            expected = [(layer if layer is not None else -1, way, each) for layer, way, _ in found]
        require(found == expected, f"systems {expected}, got {found}")
