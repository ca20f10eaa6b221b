"""`flushed`: the fused module with denormal numbers flushed to 0 while it runs.

A number below the smallest normal one, 1.2e-38 in float32, is worked with in microcode, some hundred cycles at a time.
A gradient that vanishes gets there: on its way through 200 steps of a plain RNN, say. As zeros they cost nothing, and
nothing but them changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from unrolled.torch_settings import flushes_denormals


def build(reference: nn.Module) -> nn.Module:
    """The reference itself; `around` makes the difference."""
    return reference


@contextmanager
def around() -> Iterator[None]:
    """Denormal numbers are 0 inside."""
    before = flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


AROUND = around
