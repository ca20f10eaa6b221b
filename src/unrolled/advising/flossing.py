"""Gradient flossing: before training, the first Lyapunov exponents are pushed to zero.

Engelken 2023, Gradient flossing: improving gradient descent through dynamic control of Jacobians (NeurIPS 36), §3: the
loss is the sum of the squares of the first k exponents, and its gradient goes through the QR factorisations that they
are measured by. It is for tanh RNNs and GRUs: an LSTM's exponents came to zero as well, but what it learned did not
change, and behind a relu that is off a direction is lost for good, where QR has no gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.weights import NAMES

ITERATIONS = 100
LR = 0.003
SAMPLES = 2  # sequences along which exponents are measured
STEPS = 60  # of each
QR_EVERY = 3  # steps between two factorisations
SHARE = 0.5  # of the units of a layer: how many exponents are pushed
CLOSE = 1e-4  # of the mean square exponent, where it is done


def floss(module: nn.RNNBase, inputs: Tensor, iterations: int = ITERATIONS) -> tuple[float, float]:
    """Push the exponents of every layer along `inputs` `(T, B, I)` to zero, in place.

    Gives the mean square exponent, (nats per step)², before and after, over the exponents pushed.
    """
    x = inputs[:STEPS, :SAMPLES].detach()
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    first = last = float("nan")
    for iteration in range(iterations + 1):
        loss = mean_square_exponent(module, x)
        last = loss.item()
        first = last if iteration == 0 else first
        if iteration == iterations or last < CLOSE:
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    optimizer.zero_grad()
    return first, last


def mean_square_exponent(module: nn.RNNBase, x: Tensor) -> Tensor:
    """Over the first exponents of every layer and direction, and over samples: differentiable in all weights."""
    found = [(largest_exponents(jacobians, _count(module)) ** 2).mean() for jacobians in layers(module, x)]
    return torch.stack(found).mean()


def _count(module: nn.RNNBase) -> int:
    return max(1, round(SHARE * module.hidden_size))


def largest_exponents(jacobians: Tensor, count: int) -> Tensor:
    """The `count` largest exponents `(B, count)`, nats per step, of the product of `jacobians` `(T, B, H, H)`.

    As `unrolled.spectrum` measures them, but written with operations that autograd knows (Benettin et al. 1980).
    """
    steps, samples, size, _ = jacobians.shape
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(samples, size, count, generator=generator).to(jacobians)
    tangents = torch.linalg.qr(start).Q
    logs = jacobians.new_zeros(samples, count)
    for step in range(steps):
        tangents = jacobians[step] @ tangents
        if (step + 1) % QR_EVERY == 0 or step == steps - 1:
            tangents, r = torch.linalg.qr(tangents)
            logs = logs + r.diagonal(dim1=-2, dim2=-1).abs().clamp_min(torch.finfo(r.dtype).tiny).log()
    return logs / steps


def layers(module: nn.RNNBase, x: Tensor) -> Iterator[Tensor]:
    """The Jacobians `(T, B, H, H)` of each layer and direction along its own input."""
    directions = 2 if module.bidirectional else 1
    for layer in range(module.num_layers):
        outputs = []
        for direction in range(directions):
            suffix = f"l{layer}{'_reverse' if direction else ''}"
            weights = [getattr(module, f"{name}_{suffix}", None) for name in NAMES[:4]]
            jacobians, states = _layer(module, x.flip(0) if direction else x, weights)
            yield jacobians
            outputs.append(states.flip(0) if direction else states)
        x = torch.cat(outputs, dim=-1)


def _layer(module: nn.RNNBase, x: Tensor, weights: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Its Jacobians, and its states `(T, B, H)`."""
    return _gru(x, *weights) if isinstance(module, nn.GRU) else _rnn(_nonlinearity(module), x, *weights)


def _nonlinearity(module: nn.RNNBase) -> str:
    return "tanh" if module.mode == "RNN_TANH" else "relu"


def _rnn(
    kind: str, x: Tensor, w: Tensor, u: Tensor, b: Tensor | None, d: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`h' = f(a)`, so `∂h'/∂h = diag(f'(a)) U`."""
    h, states = x.new_zeros(x.shape[1], u.shape[1]), []
    for step in _projected(x, w, b, d):
        a = step + h @ u.T
        h = torch.tanh(a) if kind == "tanh" else torch.relu(a)
        states.append(h)
    every = torch.stack(states)
    slope = 1 - every**2 if kind == "tanh" else (every > 0).to(x)
    return slope[..., None] * u, every


def _gru(x: Tensor, w: Tensor, u: Tensor, b: Tensor | None, d: Tensor | None) -> tuple[Tensor, Tensor]:
    """`h' = (1 - z) n + z h`, with `n = tanh(x_n + r (U_n h + d_n))`."""
    size = u.shape[1]
    ur, uz, un = u.chunk(3)
    projected = _projected(x, w, b, None)
    bias = x.new_zeros(3 * size) if d is None else d
    h, states, jacobians = x.new_zeros(x.shape[1], size), [], []
    eye = torch.eye(size).to(x)
    for step in projected:
        xr, xz, xn = step.chunk(3, dim=-1)
        hr, hz, hn = (h @ u.T + bias).chunk(3, dim=-1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        n = torch.tanh(xn + r * hn)
        of_n = (1 - z) * (1 - n**2)
        jacobians.append(
            z[..., None] * eye
            + ((h - n) * z * (1 - z))[..., None] * uz
            + (of_n * r)[..., None] * un
            + (of_n * hn * r * (1 - r))[..., None] * ur
        )
        h = (1 - z) * n + z * h
        states.append(h)
    return torch.stack(jacobians), torch.stack(states)


def _projected(x: Tensor, w: Tensor, *biases: Tensor | None) -> Tensor:
    projected = x @ w.T
    for bias in biases:
        projected = projected if bias is None else projected + bias
    return projected
