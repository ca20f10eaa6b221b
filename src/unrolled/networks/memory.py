"""Sizes that no memory here holds are refused before anything is allocated."""

from __future__ import annotations

from unrolled.environment import memory_bytes
from unrolled.errors import OutOfMemoryError

DRAWN = 8  # bytes of a number as it is drawn: in float64 and on the CPU, whatever it becomes


def check_memory(what: str, drawn: int, device: str, moved: int) -> None:
    """Raise `OutOfMemoryError` for a network or tensor that takes more bytes than there are.

    `drawn` are the bytes that it takes on the CPU at least, and `moved` those on `device`.
    """
    _check(what, max(drawn, moved) if device == "cpu" else drawn, memory_bytes(), "this machine")
    if device.startswith("cuda"):
        import torch

        memory = torch.cuda.get_device_properties(device).total_memory
        _check(what, moved, memory, f"{device}, {torch.cuda.get_device_name(device)}")


def _check(what: str, needed: int, available: int | None, where: str) -> None:
    if available is not None and needed > available:
        raise OutOfMemoryError(
            f"sizes: expected a network that fits into the {_amount(available)} of {where}, got at least "
            f"{_amount(needed)} for {what}; choose smaller ones"
        )


def _amount(count: int) -> str:
    """Bytes in GiB, or in TiB where they are many."""
    return f"{count / 2**30:.3g} GiB" if count < 2**40 else f"{count / 2**40:,.0f} TiB"
