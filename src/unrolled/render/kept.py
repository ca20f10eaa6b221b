"""Figures that are handed over where they would be written: for a page, which has them inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kept = list[tuple[str, "Figure"]]  # names and figures
_kept: ContextVar[Kept | None] = ContextVar("kept", default=None)


@contextmanager
def kept() -> Iterator[Kept]:
    """The figures that `style.save` is given inside, in order; it writes none of them."""
    figures: Kept = []
    token = _kept.set(figures)
    try:
        yield figures
    finally:
        _kept.reset(token)


def keep(name: str, figure: Figure) -> bool:
    """Whether somebody keeps figures, who then has this one."""
    figures = _kept.get()
    if figures is not None:
        figures.append((name, figure))
    return figures is not None
