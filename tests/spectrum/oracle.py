"""The oracle: Jacobians by `torch.func.jacrev` of cells written out by hand, along a trajectory of their own."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tests.gradients.helpers import cell_step, weights_of


def pair_of(module, flat):
    """A flat state as `(h,)` or `(h, c)`, each with a batch of one."""
    size = module.proj_size or module.hidden_size
    return (flat[None, :size], flat[None, size:]) if module.mode == "LSTM" else (flat[None],)


def layer_step(module, layer, direction, x, flat):
    """One step of one layer, from flat state to flat state."""
    weights = weights_of(module, layer, direction)
    return torch.cat(cell_step(module, weights, x[None], pair_of(module, flat)), dim=1)[0]


def stack_step(module, x, flat):
    """One step of all layers."""
    size, after = module.proj_size or module.hidden_size, []
    for layer, own in enumerate(flat.chunk(module.num_layers)):
        after.append(layer_step(module, layer, "forward", x, own))
        x = after[-1][:size]
    return torch.cat(after)


def along(step, xs, first):
    """The Jacobians `(T, n, n)` of `step(x, flat)` on its way from `first`, and the states `(T, n)` it reaches."""
    before, flat = [], first
    for x in xs:
        before.append(flat)
        flat = step(x, flat)
    jacobians = torch.func.vmap(torch.func.jacrev(step, argnums=1))(xs, torch.stack(before))
    return jacobians, torch.stack([*before[1:], flat])


@torch.no_grad()
def jacobians(module, x, first=None):
    """System -> `(B, T, n, n)`, in the order in which its direction runs. Weights in float64."""
    found = {}
    for sample in range(x.shape[1]):
        for name, own in _of_sample(module, x[:, sample], first, sample).items():
            found.setdefault(name, []).append(own)
    return {name: torch.stack(samples) for name, samples in found.items()}


def _of_sample(module, xs, first, sample):
    size, found = module.proj_size or module.hidden_size, {}
    directions = ["forward", "reverse"] if module.bidirectional else ["forward"]
    inputs, starts = xs, []
    for layer in range(module.num_layers):
        outputs = []
        for direction in directions:
            start = _first(module, first, layer * len(directions) + len(outputs), sample)
            starts.append(start)
            own = inputs.flip(0) if direction == "reverse" else inputs

            def step(x, flat, layer=layer, direction=direction):
                return layer_step(module, layer, direction, x, flat)

            name = f"l{layer}" + ".reverse" * (direction == "reverse")
            found[name], states = along(step, own, start)
            outputs.append(states[:, :size].flip(0) if direction == "reverse" else states[:, :size])
        inputs = torch.cat(outputs, dim=1)
    if module.num_layers > 1 and not module.bidirectional:
        found["stack"] = along(lambda x, flat: stack_step(module, x, flat), xs, torch.cat(starts))[0]
    return found


def _first(module, first, row, sample):
    if first is None:
        sizes = [module.proj_size or module.hidden_size] + [module.hidden_size] * (module.mode == "LSTM")
        return torch.zeros(sum(sizes), dtype=torch.float64)
    parts = first if isinstance(first, tuple) else (first,)
    return torch.cat([part[row, sample] for part in parts])


def product(steps):
    """`J_T … J_1` of Jacobians `(T, n, n)`."""
    total = torch.eye(steps.shape[-1], dtype=steps.dtype)
    for jacobian in steps:
        total = jacobian @ total
    return total


def exponents(steps, warm_up=0):
    """The textbook: QR at every step from the first directions of the library; `(T, n)` running sums of ln R_ii."""
    size = steps.shape[-1]
    generator = torch.Generator().manual_seed(0)
    start = torch.stack([torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(size)])
    q, logs = torch.linalg.qr(start.T)[0], []
    for jacobian in steps:
        q, r = torch.linalg.qr(jacobian @ q)
        logs.append(r.diagonal().abs().log())
    return torch.stack(logs[warm_up:]).cumsum(0)


def mean_log_det(steps):
    """The mean of `ln |det J_t|`."""
    return float(torch.linalg.slogdet(steps)[1].mean())


def set_weights(module, **values):
    """Short names to values; every other weight is 0."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.zero_()
            if name in values:
                parameter.copy_(torch.as_tensor(values[name], dtype=parameter.dtype))
    return module.requires_grad_(False)


def relu_diagonal(rates, bias=1.0, dtype=torch.float64):
    """relu, a diagonal W_hh and as many inputs as units, so that each unit is a network of its own."""
    size = len(rates)
    module = nn.RNN(size, size, nonlinearity="relu", dtype=dtype)
    return set_weights(
        module,
        weight_ih_l0=torch.eye(size),
        weight_hh_l0=torch.diag(torch.as_tensor(rates, dtype=torch.float64)),
        bias_ih_l0=torch.full((size,), float(bias)),
    )


def fields_equal(one, other):
    """Equality of arrays with `-inf`, and of all else."""
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other) and one.dtype == other.dtype
    return one == other
