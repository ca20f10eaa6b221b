"""The oracle: recurrences as the `torch.nn` documentation writes them, a gate, a step and a layer at a time.

Slow and obvious on purpose, and independent of `unrolled.implementations`: a mistake shared by an
implementation and its judge would be found by nobody.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import InvalidTypeError
from unrolled.networks.stack import Stack


def explicit(module: nn.Module, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
    """What `module(input, hx)` must give, for `nn.RNN`, `nn.GRU`, `nn.LSTM` and `Stack`; differentiable.

    `input` is `(T, B, I)`, or `(B, T, I)` for a module with `batch_first`. So too for a module with a list `cells`, one
    for each layer and direction, that were written by somebody else; `hx` is then needed.
    """
    if isinstance(getattr(module, "cells", None), nn.ModuleList) and hx is not None:
        return _cell_by_cell(module, input, hx)
    if isinstance(module, Stack):
        states = []
        for k, part in enumerate(module.layers):
            input, state = explicit(part, input, None if hx is None else hx[k])
            states.append(state)
        return input, tuple(states)

    if not isinstance(module, nn.RNN | nn.GRU | nn.LSTM):
        raise InvalidTypeError(
            f"module: expected nn.RNN, nn.GRU, nn.LSTM or Stack, got {type(module).__name__}"
        )
    is_lstm = isinstance(module, nn.LSTM)
    x = input.transpose(0, 1) if module.batch_first else input
    rows = module.num_layers * (2 if module.bidirectional else 1)
    if hx is None:
        zeros = torch.zeros(rows, x.shape[1], module.hidden_size, dtype=x.dtype, device=x.device)
        hx = (zeros, zeros) if is_lstm else zeros
    h_0, c_0 = hx if is_lstm else (hx, hx)

    h_n: list[Tensor] = []
    c_n: list[Tensor] = []
    for layer in range(module.num_layers):
        outputs = []
        for suffix in ("", "_reverse")[: 2 if module.bidirectional else 1]:
            h, c = h_0[len(h_n)], c_0[len(c_n)]
            weights = _weights(module, f"l{layer}{suffix}")
            inputs = x.unbind(0) if not suffix else x.unbind(0)[::-1]
            steps = []
            for x_t in inputs:
                h, c = _step(module, x_t, h, c, weights)
                steps.append(h)
            outputs.append(torch.stack(steps if not suffix else steps[::-1]))
            h_n.append(h)
            c_n.append(c)
        x = torch.cat(outputs, dim=-1)

    output = x.transpose(0, 1) if module.batch_first else x
    return output, (torch.stack(h_n), torch.stack(c_n)) if is_lstm else torch.stack(h_n)


def _cell_by_cell(module: Any, x: Tensor, hx: Any) -> tuple[Tensor, Any]:
    """A loop over cells called as `cell(x_t, state) -> state`, or `-> (output, state)`."""
    is_tuple = not isinstance(hx, Tensor)
    rows = list(zip(*hx, strict=True)) if is_tuple else list(hx)
    finals: list[Any] = []
    for _ in range(module.num_layers):
        outputs = []
        for reverse in (False, True)[: 2 if module.bidirectional else 1]:
            state, cell = rows[len(finals)], module.cells[len(finals)]
            steps = []
            for x_t in reversed(x) if reverse else x:
                result = cell(x_t, state)
                if is_tuple:
                    gives_output = isinstance(result[1], tuple)
                    state = result[1] if gives_output else result
                    steps.append(result[0])
                else:
                    steps.append(result if isinstance(result, Tensor) else result[0])
                    state = result if isinstance(result, Tensor) else result[1]
            outputs.append(torch.stack(steps[::-1] if reverse else steps))
            finals.append(state)
        x = torch.cat(outputs, dim=-1)
    if is_tuple:
        return x, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
    return x, torch.stack(finals)


def _weights(module: nn.RNNBase, suffix: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    weight_ih, weight_hh = getattr(module, f"weight_ih_{suffix}"), getattr(module, f"weight_hh_{suffix}")
    zeros = torch.zeros(len(weight_ih), dtype=weight_ih.dtype, device=weight_ih.device)
    return (
        weight_ih,
        weight_hh,
        getattr(module, f"bias_ih_{suffix}") if module.bias else zeros,
        getattr(module, f"bias_hh_{suffix}") if module.bias else zeros,
    )


def _step(
    module: nn.RNNBase, x: Tensor, h: Tensor, c: Tensor, weights: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """One step of one layer: `x` `(B, I)`, `h` and `c` `(B, H)`; `c` passes through where there is none."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    from_input = x @ weight_ih.T + bias_ih
    from_state = h @ weight_hh.T + bias_hh
    size = module.hidden_size
    gate = [slice(k * size, (k + 1) * size) for k in range(4)]
    if isinstance(module, nn.LSTM):
        total = from_input + from_state
        i, f = torch.sigmoid(total[:, gate[0]]), torch.sigmoid(total[:, gate[1]])
        g, o = torch.tanh(total[:, gate[2]]), torch.sigmoid(total[:, gate[3]])
        c = f * c + i * g
        return o * torch.tanh(c), c
    if isinstance(module, nn.GRU):
        r = torch.sigmoid(from_input[:, gate[0]] + from_state[:, gate[0]])
        z = torch.sigmoid(from_input[:, gate[1]] + from_state[:, gate[1]])
        n = torch.tanh(from_input[:, gate[2]] + r * from_state[:, gate[2]])
        return (1 - z) * n + z * h, c
    total = from_input + from_state
    return (torch.relu(total) if module.nonlinearity == "relu" else torch.tanh(total)), c
