"""Exponents of a network that comes to a standstill under a constant input: those of its fixed point."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.cells import cell_of
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.theory.rest import log_moduli

# A step that moves no state by more than this is none: the rounding of states of the size of 1, and some.
STILL = 1e-13
STEPS = 10_000
BLOCK = 500


def exponents_at_fixed_point(
    module: nn.RNNBase, inputs: Tensor | None = None, layer: int | None = None
) -> np.ndarray | None:
    """`ln |eig_i(J)|` at the fixed point, from the largest down, in nats per step; None where there is none.

    Run on the same `inputs` `(I,)` at every step, zeros by default, from a random state, in float64. Where it
    stands still, its exponents are the log moduli of the eigenvalues of the Jacobian there, for any cell,
    weights and biases (the definition of the exponents; Oseledets 1968). They are those of the whole stack of
    layers, or of one `layer` alone with the layers below at rest, for an LSTM of the state (h, c). A network
    that moves for 10,000 steps has no fixed point that attracts: it cycles, or it is chaotic.

    Raises `InvalidTypeError` for what is no recurrent module and `InvalidValueError` for a bidirectional
    one, an input that does not fit, or weights that are not finite.
    """
    _check(module, inputs, layer)
    still = copy.deepcopy(module).double().cpu().eval()
    still.batch_first = False
    x = torch.zeros(module.input_size) if inputs is None else inputs.detach()
    x = x.double().cpu().expand(BLOCK, 1, -1)
    state = _settle(still, x)
    if state is None:
        return None
    jacobian = _jacobian(still, x[:1], state)
    if layer is not None:
        owner = torch.cat([torch.arange(len(part)).repeat_interleave(part.shape[-1]) for part in state])
        own = torch.nonzero(owner == layer).ravel()
        jacobian = jacobian[own][:, own]
    return log_moduli(jacobian.numpy())


@torch.no_grad()
def _settle(module: nn.RNNBase, x: Tensor) -> tuple[Tensor, ...] | None:
    """The state `(L, 1, ·)`, or `(h, c)`, that a step on `x` leaves where it is; None where there is none."""
    generator = torch.Generator().manual_seed(0)
    sizes = cell_of(module).state_sizes(module.hidden_size, module.proj_size)
    # A state of zeros may be a fixed point that repels.
    state = tuple(torch.rand(module.num_layers, 1, size, generator=generator).double() for size in sizes)
    for _ in range(0, STEPS, BLOCK):
        state = _run(module, x, state)
        after = _run(module, x[:1], state)
        if all(bool((new - old).abs().max() <= STILL) for new, old in zip(after, state, strict=True)):
            return state
    return None


def _run(module: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The state after the steps `x`."""
    after = module(x, state if len(state) > 1 else state[0])[1]
    return after if isinstance(after, tuple) else (after,)


def _jacobian(module: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...]) -> Tensor:
    """`∂s'/∂s` of one step `(n, n)`, by autograd; s lists h layer by layer, then c."""
    rows: list[Tensor] = []
    jacobian: Any = torch.autograd.functional.jacobian  # not typed
    parts = jacobian(lambda *given: _run(module, x, given), state)
    for after, row in zip(state, parts, strict=True):
        rows.append(torch.cat([part.reshape(after.numel(), -1) for part in row], dim=1))
    return torch.cat(rows)


def _check(module: nn.RNNBase, inputs: Tensor | None, layer: int | None) -> None:
    if not isinstance(module, nn.RNN | nn.GRU | nn.LSTM):
        raise InvalidTypeError(
            f"module: expected an nn.RNN, nn.GRU or nn.LSTM, got {type(module).__name__}; pass that part"
        )
    if module.bidirectional:
        raise InvalidValueError(
            "module: expected one direction, got bidirectional=True; a layer above would read both ends at once"
        )
    if layer is not None and not 0 <= layer < module.num_layers:
        raise InvalidValueError(f"layer: expected one of 0 to {module.num_layers - 1}, got {layer}")
    if inputs is not None and inputs.shape != (module.input_size,):
        raise InvalidValueError(
            f"inputs: expected ({module.input_size},), the input of every step, got {tuple(inputs.shape)}"
        )
    for name, value in [*module.named_parameters(), *([] if inputs is None else [("inputs", inputs)])]:
        if not bool(torch.isfinite(value).all()):
            raise InvalidValueError(f"module: expected finite numbers, got NaN or inf in {name}; reload them")
