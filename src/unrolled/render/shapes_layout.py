"""Where things stand in the picture of an unrolled network, in inches, so that text keeps its size in any."""

from __future__ import annotations

from typing import Any

Point = tuple[float, float]

# What a box is called, by cell; a cell that somebody else wrote goes by its own name.
TORCHS = {"rnn_tanh": "RNN", "rnn_relu": "RNN", "gru": "GRU", "lstm": "LSTM"}
LETTER = 0.058  # the width of one, as small as the parameters are written
COLUMN, GAP = 1.35, 0.85  # from one step to the next, to and from the dots
ROW, DOTS = 1.12, 0.7  # height of a layer in one direction, and of the dots between layers
BOX = (0.78, 0.5)
APART = 0.34  # of the two directions of a step, to either side of its middle
FORK = 0.3  # below a box, where what comes in goes to both directions
JOINT = 0.37  # above the upper box, where both directions become one
KEY = 0.16  # height of what explains the lines
FIRST = 1.75  # height of the first layer, above the inputs
HEAD = 1.05  # above the outputs
MOST_STEPS, MOST_ROWS = 4, 6  # beyond these the first two and the last are drawn, and dots


class Sheet:
    """Columns of steps, rows of layers and directions; None among steps and layers stands for the dots."""

    def __init__(self, row: dict[str, Any], labels: int) -> None:
        """For the network of `row`, with names and shapes of parameters of up to `labels` letters."""
        self.row = row
        self.cell = row["cell"]
        if self.cell in TORCHS:
            self.cell = TORCHS[self.cell] + ("Cell" if row["form"] == "cells" and not row["proj_size"] else "")
        self.paths = tuple(row["states"].split())
        self.both_ways = bool(row["bidirectional"])
        self.batch = (row["batch_size"],) if row["batched"] else ()
        self.hidden = [int(size) for size in row["hidden_sizes"].split("; ")]
        self.steps = _some(range(1, row["seq_len"] + 1), MOST_STEPS)
        self.layers = _some(range(row["num_layers"]), MOST_ROWS // self.directions)

        states = 0.75 + 1.2 * LETTER * len(self.shape(max(self.hidden)))
        self.left = 0.3 + LETTER * labels + states
        self.x = self._columns(self.left + 0.85)
        self.right = self.x[-1] + 0.85
        self.width = self.right + states
        self.y, end = self._rows()
        self.bottom, self.top = 0.87, end - (0.22 if self.both_ways else 0.12)
        self.height = self.top + HEAD

    @property
    def directions(self) -> int:
        """Rows of boxes per layer."""
        return 2 if self.both_ways else 1

    def _columns(self, x: float) -> list[float]:
        """The middle of each step."""
        column, gap = (COLUMN + 0.45, GAP + 0.225) if self.both_ways else (COLUMN, GAP)
        found = [x]
        for before, step in zip(self.steps, self.steps[1:], strict=False):
            found.append(found[-1] + (gap if None in (before, step) else column))
        return found

    def _rows(self) -> tuple[dict[int | None, float], float]:
        """The height of each layer's first direction, and where the next layer would stand."""
        found: dict[int | None, float] = {}
        y = FIRST
        for layer in self.layers:
            if layer is None:  # half-way between what is handed up below and what the last layer takes
                found[None] = y - (ROW - BOX[1]) / 2 - FORK * self.both_ways + DOTS / 2
                y += DOTS
            else:
                found[layer] = y
                y += ROW * self.directions + FORK * self.both_ways
        return found, y

    def state(self, path: str, layer: int, direction: int) -> str:
        """The shape of a part of the state of one layer and direction."""
        shapes = self.row[path].split("; ")
        if self.row["form"] == "cells":
            return str(shapes[layer * self.directions + direction])
        stacked = shapes[layer if len(shapes) > 1 else 0]  # (L * D, B, ...)
        inner = stacked.strip("()").rstrip(",").split(", ")[1:]
        return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"

    def offset(self, path: str) -> float:
        """How far above the middle of its box a part of the state is drawn."""
        last = len(self.paths) - 1
        return 0.12 * (2 * self.paths.index(path) / last - 1) if last else 0.0

    def shape(self, width: int) -> str:
        """That of a tensor of one step."""
        return str((*self.batch, width))

    def output(self, layer: int) -> str:
        """The shape of what a layer hands up at one step."""
        return self.shape(self.directions * (self.row["proj_size"] or self.hidden[layer]))

    def box(self, k: int, layer: int, direction: int) -> Point:
        """The middle of the box of column `k`."""
        aside = (-APART, APART)[direction] if self.both_ways else 0.0
        return self.x[k] + aside, self.y[layer] + direction * ROW

    def joint(self, layer: int) -> float:
        """The height at which a layer's output is one tensor: on its box, or where two directions meet."""
        return self.y[layer] + BOX[1] / 2 + ((ROW + JOINT) if self.both_ways else 0)

    def foot(self, layer: int | None) -> float:
        """The height at which a layer takes its input: its box, the fork to two boxes, or the dots."""
        if layer is None:
            return self.y[None] - DOTS / 4
        return self.y[layer] - BOX[1] / 2 - FORK * self.both_ways

    def above(self, layer: int) -> float:
        """The height that the output of a layer is handed up to."""
        later = self.layers[self.layers.index(layer) + 1 :]
        return self.foot(later[0]) if later else self.top - 0.02


def _some(numbers: range, most: int) -> list[int | None]:
    """All of them, or the first two, None for the dots, and the last."""
    return list(numbers) if len(numbers) <= most else [*numbers[:2], None, numbers[-1]]
