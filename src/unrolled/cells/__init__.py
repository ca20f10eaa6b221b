"""What a recurrence is: one file per cell."""

from unrolled.cells.path import is_path
from unrolled.errors import InvalidValueError

CELLS = ("rnn_tanh", "rnn_relu", "gru", "lstm")

# Rows of the weight matrices are stacked gate by gate: torch.nn's G * hidden_size.
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}


def check_cell(name: object) -> None:
    """Raise unless `name` is a cell here, or says where one of your own is: `package.module:Name`."""
    if name not in CELLS and not (isinstance(name, str) and is_path(name)):
        raise InvalidValueError(
            f"cell: expected one of {', '.join(CELLS)}, or your own as package.module:Name, got {name!r}"
        )
