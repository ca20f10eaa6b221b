"""Systems that are followed together along one trajectory, and its steps, linearised, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from unrolled.cells.push_forward import Steps
from unrolled.observed.system import System


@dataclass(frozen=True)
class Block:
    """Steps `start` to `start + steps` of a trajectory; per system, its linearised steps, numbered from 0."""

    start: int
    steps: int
    pushes: tuple[Steps, ...]


@dataclass(frozen=True)
class Trajectory:
    """Systems that are run through together, over `steps` steps of `batch` samples.

    `blocks(first)` runs the sequence from its start and yields the blocks from the one on that holds step `first`.
    `like` has the dtype and device of tangents, whose number is best a `multiple` of some. `lower` is the share of a
    whole spectrum that is best followed by inverse steps.
    """

    systems: tuple[System, ...]
    steps: int
    batch: int
    like: Tensor
    blocks: Callable[[int], Iterator[Block]]
    multiple: int = 1
    lower: float = 0.0
