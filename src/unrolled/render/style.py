"""How every figure looks: colours that survive grey and colour blindness, and reproducible files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

# Okabe and Ito's palette (2008), in an order of clearly different lightness; black is for the reference.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))

_RC: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "unrolled",  # the same data give the same file
    "svg.fonttype": "path",
    "savefig.dpi": 150,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Our settings for the figures made inside, and for no others."""
    with rc_context(_RC):
        yield


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name.png` and `name.svg`, the same bytes for the same figure."""
    paths = []
    with house_style():
        engine = figure.get_layout_engine()
        if engine is not None:  # lay it out once for both files
            engine.execute(figure)
            figure.set_layout_engine("none")
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            path = folder / f"{name}.{suffix}"
            figure.savefig(path, metadata=metadata)
            paths.append(path)
    return paths
