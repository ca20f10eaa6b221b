"""The oracle: recurrences as the `torch.nn` documentation writes them, a gate, a step and a layer at a time.

Slow and obvious on purpose, and independent of `unrolled.implementations`: a mistake shared by an
implementation and its judge would be found by nobody.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from unrolled.errors import InvalidTypeError
from unrolled.networks.stack import Stack


def explicit(module: nn.Module, input: Any, hx: Any = None) -> tuple[Any, Any]:
    """What `module(input, hx)` must give, for `nn.RNN`, `nn.GRU`, `nn.LSTM` and `Stack`; differentiable.

    `input` is `(T, B, I)`, or `(B, T, I)` for a module with `batch_first`, or packed. So too for a module with a list
    `cells`, one for each layer and direction, that were written by somebody else; `hx` is then needed.
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
    padded, alive = _padded(module, input)
    is_lstm = isinstance(module, nn.LSTM)
    if hx is None:
        rows = module.num_layers * (2 if module.bidirectional else 1)
        c_0 = padded.new_zeros(rows, padded.shape[1], module.hidden_size)
        h_0 = c_0[..., : module.proj_size or None]
        hx = (h_0, c_0) if is_lstm else h_0
    h_0, c_0 = hx if is_lstm else (hx, hx)

    x, h_n, c_n = padded, list[Tensor](), list[Tensor]()
    for layer in range(module.num_layers):
        if layer:
            x = _dropped_out(module, x, alive)
        outputs = []
        for suffix in ("", "_reverse")[: 2 if module.bidirectional else 1]:
            h, c = h_0[len(h_n)], c_0[len(c_n)]
            weights = _weights(module, f"l{layer}{suffix}")
            times = range(len(x)) if not suffix else range(len(x))[::-1]
            steps: dict[int, Tensor] = {}
            for t in times:
                h_t, c_t = _step(module, x[t], h, c, weights)
                h, c = torch.where(alive[t], h_t, h), torch.where(alive[t], c_t, c)
                steps[t] = h
            outputs.append(torch.stack([steps[t] for t in range(len(x))]))
            h_n.append(h)
            c_n.append(c)
        x = torch.cat(outputs, dim=-1)

    return _as_given(module, x, input), (torch.stack(h_n), torch.stack(c_n)) if is_lstm else torch.stack(h_n)


def _padded(module: nn.RNNBase, input: Tensor | PackedSequence) -> tuple[Tensor, Tensor]:
    """`(T, B, I)`, and which sequences go on at which steps, `(T, B, 1)`."""
    if isinstance(input, PackedSequence):
        x, lengths = pad_packed_sequence(input)
        return x, (torch.arange(len(x))[:, None] < lengths).unsqueeze(-1).to(x.device)
    x = input.transpose(0, 1) if module.batch_first else input
    return x, torch.ones(*x.shape[:2], 1, dtype=torch.bool, device=x.device)


def _as_given(module: nn.RNNBase, x: Tensor, like: Tensor | PackedSequence) -> Any:
    """`x` `(T, B, H)` laid out as the input was, all of whose steps it has."""
    if isinstance(like, PackedSequence):
        return pack_padded_sequence(x, pad_packed_sequence(like)[1], enforce_sorted=like.sorted_indices is None)
    return x.transpose(0, 1) if module.batch_first else x


def _dropped_out(module: nn.RNNBase, x: Tensor, alive: Tensor) -> Tensor:
    """What the next layer reads. Each step of each sequence that goes on draws its own numbers, in that order."""
    if not (module.training and module.dropout):
        return x
    is_there = alive.expand(x.shape)
    numbers = F.dropout(x[is_there].view(-1, x.shape[-1]), module.dropout)
    return torch.zeros_like(x).masked_scatter(is_there, numbers)


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


def _weights(module: nn.RNNBase, suffix: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    weight_ih, weight_hh = getattr(module, f"weight_ih_{suffix}"), getattr(module, f"weight_hh_{suffix}")
    zeros = torch.zeros(len(weight_ih), dtype=weight_ih.dtype, device=weight_ih.device)
    return (
        weight_ih,
        weight_hh,
        getattr(module, f"bias_ih_{suffix}") if module.bias else zeros,
        getattr(module, f"bias_hh_{suffix}") if module.bias else zeros,
        getattr(module, f"weight_hr_{suffix}") if module.proj_size else None,
    )


def _step(
    module: nn.RNNBase,
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None],
) -> tuple[Tensor, Tensor]:
    """One step of one layer: `x` `(B, I)`, `h` and `c` `(B, H)`; `c` passes through where there is none.

    `h` is `(B, P)` where an LSTM projects it.
    """
    weight_ih, weight_hh, bias_ih, bias_hh, weight_hr = weights
    from_input = x @ weight_ih.T + bias_ih
    from_state = h @ weight_hh.T + bias_hh
    size = module.hidden_size
    gate = [slice(k * size, (k + 1) * size) for k in range(4)]
    if isinstance(module, nn.LSTM):
        total = from_input + from_state
        i, f = torch.sigmoid(total[:, gate[0]]), torch.sigmoid(total[:, gate[1]])
        g, o = torch.tanh(total[:, gate[2]]), torch.sigmoid(total[:, gate[3]])
        c = f * c + i * g
        h = o * torch.tanh(c)
        return (h if weight_hr is None else h @ weight_hr.T), c
    if isinstance(module, nn.GRU):
        r = torch.sigmoid(from_input[:, gate[0]] + from_state[:, gate[0]])
        z = torch.sigmoid(from_input[:, gate[1]] + from_state[:, gate[1]])
        n = torch.tanh(from_input[:, gate[2]] + r * from_state[:, gate[2]])
        return (1 - z) * n + z * h, c
    total = from_input + from_state
    return (torch.relu(total) if module.nonlinearity == "relu" else torch.tanh(total)), c
