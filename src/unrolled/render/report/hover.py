"""The values that a figure was drawn from, each with the place where it stands: what a pointer over it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

POINTS = 72.0  # to an inch, the unit of an SVG
APART = 9.0  # points between two values of a line that are worth showing
RADIUS = 5.0  # of the place that a pointer has to find
LONGEST = 40  # letters of an axis label in a value


@dataclass(frozen=True)
class Value:
    """A rectangle in points, from the upper left corner of the figure, and lines of text."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]


def values_of(figure: Figure) -> list[Value]:
    """All that is named in a legend, and every image; the figure has to be laid out."""
    names = _names_by_look(figure)
    found: list[Value] = []
    for axes in figure.axes:
        if axes.axison:
            panel = _Panel(figure, axes, names)
            found += [*panel.images(), *panel.bars(), *panel.lines()]
    return found


def _look(line: Line2D) -> tuple[str, ...]:
    return (to_hex(line.get_color()), str(line.get_marker()), str(line.get_linestyle()))


def _names_by_look(figure: Figure) -> dict[tuple[str, ...], str]:
    """What the legend of the figure calls a line of this colour, marker and dashes."""
    return {
        _look(handle): text.get_text()
        for legend in figure.legends
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=False)
        if isinstance(handle, Line2D)
    }


class _Panel:
    """One pair of axes of a figure."""

    def __init__(self, figure: Figure, axes: Axes, names: dict[tuple[str, ...], str]) -> None:
        self.axes, self.names = axes, names
        self.scale = POINTS / figure.dpi
        self.height = figure.bbox.height
        self.box = axes.bbox
        self.ticks = _named_ticks(axes.xaxis), _named_ticks(axes.yaxis)
        self.labels = _label(axes, "x"), _label(axes, "y")
        self.unit = _unit(self.labels[1])

    def images(self) -> Iterator[Value]:
        """A value for every cell of a heat map, or for as many of a row as can be told apart."""
        for image in self.axes.get_images():
            yield from self._cells(image)

    def _cells(self, image: AxesImage) -> Iterator[Value]:
        array: Any = np.ma.asarray(image.get_array())
        rows, columns = array.shape[:2]
        width = self.box.width * self.scale / columns
        step = max(1, round(APART / width))
        for row in range(rows):
            for column in range(0, columns, step):
                value = array[row, column]
                shown = "none" if value is np.ma.masked else _number(float(value))
                corners = self._rectangle(column - 0.5, row - 0.5, column - 0.5 + step, row + 0.5)
                where = self._at(column, 0)
                yield Value(*corners, (self._at(row, 1), where, shown))

    def bars(self) -> Iterator[Value]:
        """From where to where each bar goes."""
        for container in self.axes.containers:
            if isinstance(container, BarContainer) and not str(container.get_label()).startswith("_"):
                for bar in container.patches:
                    low, high = sorted((bar.get_y(), bar.get_y() + bar.get_height()))
                    left, right = bar.get_x(), bar.get_x() + bar.get_width()
                    middle = self._at((left + right) / 2, 0)
                    said = f"{_number(low)} to {_number(high)}{self.unit}"
                    yield Value(
                        *self._rectangle(left, low, right, high), (str(container.get_label()), middle, said)
                    )

    def lines(self) -> Iterator[Value]:
        """The values of each line that has a name, those that are apart from each other."""
        intervals, ends = self._intervals()
        for line in self.axes.get_lines():
            name = self._name(line)
            if id(line) in ends or not name or line.get_transform() is not self.axes.transData:
                continue
            data = np.asarray(line.get_xydata(), dtype=float)
            with np.errstate(all="ignore"):
                places = self.axes.transData.transform(data)
            for k in self._shown(places, every=line.get_linestyle() == "None"):
                x, y = data[k]
                between = intervals.get(id(line), {}).get(k, "")
                said = f"{_number(y)}{self.unit}{between}"
                where = self._at(x, 0)
                yield Value(*self._around(*places[k]), (name, where, said))

    def _intervals(self) -> tuple[dict[int, dict[int, str]], set[int]]:
        """Of the lines with error bars: from where to where, for each point; and the lines that are ends of bars."""
        found: dict[int, dict[int, str]] = {}
        ends: set[int] = set()
        for container in self.axes.containers:
            if isinstance(container, ErrorbarContainer):
                line, caps, bars = container.lines
                ends |= {id(cap) for cap in caps}
                if line is not None and bars:
                    segments: Any = bars[0].get_segments()
                    found[id(line)] = {
                        k: f" ({_number(segment[:, 1].min())} to {_number(segment[:, 1].max())})"
                        for k, segment in enumerate(segments)
                        if len(segment) and np.ptp(segment[:, 1]) > 0
                    }
                    if not str(container.get_label()).startswith("_"):
                        self.names.setdefault(_look(line), str(container.get_label()))
        return found, ends

    def _name(self, line: Line2D) -> str:
        own = str(line.get_label())
        return self.names.get(_look(line), "") if own.startswith("_") else own

    def _shown(self, places: np.ndarray, *, every: bool) -> Iterator[int]:
        """Which points of a line lie in the panel and apart from the last one shown."""
        last = None
        for k, place in enumerate(places):
            if not (np.isfinite(place).all() and self.box.contains(*place)):
                continue
            if every or last is None or np.hypot(*(place - last)) * self.scale >= APART:
                last = place
                yield k

    def _at(self, value: float, axis: int) -> str:
        """`lag k: 23`, or what the tick there says."""
        named = self.ticks[axis].get(round(value)) if abs(value - round(value)) < 0.5 else None
        short = self.labels[axis].split("(")[0].split("\n")[0].strip()[:LONGEST]
        if named:
            return f"{short}: {named}" if short else named
        return f"{short}: {_number(value)}" if short else _number(value)

    def _around(self, x: float, y: float) -> tuple[float, float, float, float]:
        left, top = x * self.scale, (self.height - y) * self.scale
        return left - RADIUS, top - RADIUS, 2 * RADIUS, 2 * RADIUS

    def _rectangle(
        self, left: float, low: float, right: float, high: float
    ) -> tuple[float, float, float, float]:
        """Of data coordinates, as far as it lies in the panel."""
        corners = self.axes.transData.transform([(left, low), (right, high)])
        (x0, y0), (x1, y1) = np.clip(np.sort(corners, axis=0), self.box.min, self.box.max) * self.scale
        return x0, self.height * self.scale - y1, x1 - x0, y1 - y0


def _label(axes: Axes, which: str) -> str:
    """Of the x or y axis; where panels share one, the label may stand at another panel."""
    shared: Any = axes.get_shared_x_axes() if which == "x" else axes.get_shared_y_axes()
    labels = [str(getattr(each, f"get_{which}label")()) for each in (axes, *shared.get_siblings(axes))]
    return next(filter(None, labels), "")


def _named_ticks(axis: Any) -> dict[int, str]:
    """The words at the ticks of an axis that counts things, 0, 1, 2, ... and names each of them."""
    places = list(axis.get_majorticklocs())
    if not isinstance(axis.get_major_locator(), FixedLocator) or places != list(range(len(places))):
        return {}
    words = axis.get_major_formatter().format_ticks(places)
    return {place: " ".join(word.split()) for place, word in enumerate(words)}


def _unit(label: str) -> str:
    """` ms` for `time of a call (ms)`."""
    end = label.rstrip().rpartition("(")[2]
    return f" {end[:-1]}" if end.endswith(")") and len(end) <= LONGEST and "(" in label else ""


def _number(value: float) -> str:
    return f"{value:.4g}"
