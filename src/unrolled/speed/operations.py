"""Exact operation counts: floating-point operations of the matrix products, from the sizes alone."""

from __future__ import annotations

import math

from unrolled.cells import cell_named
from unrolled.networks.workload import Workload


def flops(workload: Workload, phase: str) -> float:
    """Floating-point operations of one call, counting 2 per multiply-add of a matrix product.

    Per step, layer and direction the forward pass multiplies `(B, I) @ (I, G H)` and `(B, H) @ (H, G H)`; with a
    projection to P numbers the latter is `(B, P) @ (P, G H)`, and `(B, H) @ (H, P)` comes to it.
    The backward pass has two products for each of these (for the operand and for the weight), except
    for the initial state, which needs no gradient. Elementwise work is not counted, as is the custom
    (`torch.utils.flop_counter` does the same). NaN for a cell that somebody else wrote.
    """
    if workload.is_own:
        return math.nan
    proj_size = workload.proj_size
    gates = len(cell_named(workload.cell).gates)
    forward = 0
    initial_state = 0
    for input_size, hidden_size in zip(workload.layer_input_sizes, workload.hidden_sizes, strict=True):
        rows, state_size = gates * hidden_size, proj_size or hidden_size
        step = 2 * (rows * (input_size + state_size) + proj_size * hidden_size)
        forward += workload.directions * workload.tokens * step
        initial_state += workload.directions * 2 * workload.batch_size * rows * state_size
    return forward if phase == "forward" else 3 * forward - initial_state
