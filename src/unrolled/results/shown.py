"""What a record does in front of a person: a line, the terminal's table, HTML for a notebook, a picture.

What measures stands below what shows, so a record names the module of `unrolled.render` that knows how it looks, and
that is imported when somebody looks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Shown:
    """Base of everything that a user gets in hand. `VIEW` is the name of the module of `unrolled.render`."""

    VIEW: ClassVar[str]

    def __repr__(self) -> str:
        """One line: what it is, the verdict, what was measured."""
        line: str = _display().line(self)
        return line

    def __str__(self) -> str:
        """The answer in a sentence, and the table that a terminal shows, 80 to 120 columns wide."""
        text: str = _display().text(self)
        return text

    def _repr_html_(self) -> str:
        """The same for a notebook, in colours for light and dark."""
        html: str = _display().html(self)
        return html


class Plotted(Shown):
    """Something that there is a picture of."""

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the one picture that says most, into `ax` or a new figure; gives its axes.

        Raises `MissingPackageError` where matplotlib is not installed: `pip install 'unrolled[plots]'`.
        """
        axes: Axes = _display().plot(self, ax)
        return axes


def _display() -> Any:
    return import_module("unrolled.render.display")
