"""`torch_scan`: a step function handed to torch's own scan operator, which runs it over time and back.

The operator is a prototype (`torch._higher_order_ops.scan`). It traces the step, if it can, and runs the graph step by
step, in Python, unless all of it is compiled. Where its results or gradients are wrong, the checks say so.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells import cell_of
from unrolled.cells.build import Unrolled
from unrolled.cells.cell import State
from unrolled.cells.own import output_and_state
from unrolled.errors import ImplementationError
from unrolled.implementations.loop import Loop

try:
    from torch._higher_order_ops.scan import scan as _scan
except ImportError:  # it may be gone, or elsewhere, in another version
    _scan: Any = None  # type: ignore[no-redef]


class TorchScan(Loop):
    """The operator in place of a loop, layer by layer."""

    def scan(self, k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One layer and direction over `x` `(T, B, I)`."""
        layer, cell = self.layers[k], cell_of(self.reference)

        def step(state: State, x_t: Tensor) -> tuple[State, Tensor]:
            state = cell.step(layer, x_t, state)
            return state, state[0].clone()  # nothing that it gives may be the same memory

        last, outputs = _scan(step, tuple(part.clone() for part in state), x)
        return outputs, last


def scan(cell: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """`Unrolled.scan` by the operator; the first step says how a state looks."""
    name = type(cell).__name__
    output, state = output_and_state(cell(x[0], state), state, name)

    def step(state: Any, x_t: Tensor) -> tuple[Any, Tensor]:
        output, state = output_and_state(cell(x_t, state), state, name)
        return state, output.clone()

    last, outputs = _scan(step, state, x[1:])
    return torch.cat((output.unsqueeze(0), outputs)), last


def build(reference: nn.Module) -> nn.Module:
    """The operator with the parameters, or the very cells, of `reference`."""
    if _scan is None:
        raise ImplementationError(
            "torch_scan: expected torch's scan operator, which this version lacks; take hoisted"
        )
    if not isinstance(reference, Unrolled):
        return TorchScan(reference)  # type: ignore[arg-type]
    scanned: Any = copy.copy(reference)  # shallow: with the very cells
    scanned.scan = scan
    return scanned  # type: ignore[no-any-return]
