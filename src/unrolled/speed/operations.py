"""Exact operation counts: floating-point operations of the matrix products, from the sizes alone."""

from __future__ import annotations

import math

from unrolled.cells import cell_named
from unrolled.networks.workload import Workload


def flops(workload: Workload, phase: str) -> float:
    """Floating-point operations of one call, counting 2 per multiply-add of a matrix product.

    Per step, layer and direction the forward pass multiplies `(B, I) @ (I, G H)` and `(B, H) @ (H, G H)`.
    The backward pass has two products for each of these (for the operand and for the weight), except
    for the initial state, which needs no gradient. Elementwise work is not counted, as is the custom
    (`torch.utils.flop_counter` does the same). NaN for a cell that somebody else wrote.
    """
    if workload.is_own:
        return math.nan
    gates = len(cell_named(workload.cell).gates)
    forward = 0
    initial_state = 0
    for input_size, hidden_size in zip(workload.layer_input_sizes(), workload.hidden_sizes, strict=True):
        rows = gates * hidden_size
        step = 2 * workload.batch_size * rows * (input_size + hidden_size)
        forward += workload.directions * workload.seq_len * step
        initial_state += workload.directions * 2 * workload.batch_size * rows * hidden_size
    return forward if phase == "forward" else 3 * forward - initial_state
