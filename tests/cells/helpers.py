"""Weights, states and Jacobians for cells, in float64."""

from __future__ import annotations

import torch

from unrolled.cells.linearised import Buffers
from unrolled.cells.weights import Weights

T, B, I, H = 6, 3, 4, 5


def random_weights(cell, bias=True, proj_size=0, seed=0):
    """Weights of a size at which no gate is saturated and no two are alike."""
    generator = torch.Generator().manual_seed(seed)
    shapes = cell.shapes(I, H, proj_size)
    made = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) / 2 for name, shape in shapes.items()
    }
    if not bias:
        made |= {"bias_ih": None, "bias_hh": None}
    return Weights(**({"weight_hr": None} | made))


def random_state(cell, proj_size=0, seed=1):
    generator = torch.Generator().manual_seed(seed)
    sizes = cell.state_sizes(H, proj_size)
    return tuple(torch.randn(B, size, generator=generator, dtype=torch.float64) / 2 for size in sizes)


def random_inputs(steps=T, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, B, I, generator=generator, dtype=torch.float64)


def trajectory(cell, weights, x, state):
    """The states `(T + 1, B, ·)`, a tensor for each part."""
    states = [state]
    for x_t in x:
        states.append(cell.step(weights, x_t, states[-1]))
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))


def linearised(cell, weights, x, state):
    """The block of all steps, and the states it is about."""
    states = trajectory(cell, weights, x, state)
    c = states[1][0] if len(states) > 1 else None
    return cell.linearise(weights, x, states[0], c, Buffers(len(x), states[0])), states


def autograd_jacobians(cell, weights, x, states):
    """`(T, B, n, n)` and `(T, B, n, I)`: of each step by state and by input, by reverse-mode autograd of `step`."""
    sizes = [part.shape[-1] for part in states]

    def step(x_t, flat):
        parts = cell.step(weights, x_t[None], tuple(part[None] for part in flat.split(sizes)))
        return torch.cat([part[0] for part in parts])

    flat = torch.cat([part[:-1] for part in states], dim=-1)
    of_each = torch.func.vmap(torch.func.vmap(torch.func.jacrev(step, argnums=(1, 0))))
    return of_each(x, flat)


def pushed_jacobians(block, x, size):
    """The same two, from the push-forward of all unit tangents."""
    push = block.push_forward()
    by_state, by_input = [], []
    units = torch.eye(size, dtype=torch.float64).repeat(1, B)
    below = torch.eye(I, dtype=torch.float64).repeat(1, B)
    for t in range(len(x)):
        out = torch.empty_like(units)
        push.step(t, units, out)
        by_state.append(out.view(size, B, size).transpose(0, 1))
        out = units.new_empty(size, B * I)
        push.step(t, units.new_zeros(size, B * I), out, below)
        by_input.append(out.view(size, B, I).transpose(0, 1))
    return torch.stack(by_state), torch.stack(by_input)


def pulled_jacobians(block, x, sizes):
    """The same two, from the pull-back of all unit cotangents, one step at a time.

    The cotangent of `c` is what arrives through the next cell state, so a unit cotangent of `h` goes in by `h`.
    """
    pull = block.pull_back()
    n, steps = sum(sizes), len(x)
    by_state = torch.empty(steps, B, n, n, dtype=torch.float64)
    by_input = torch.empty(steps, B, n, x.shape[-1], dtype=torch.float64)
    for t in range(steps):
        row = 0
        for part, size in zip(pull.cotangents, sizes, strict=True):
            for number in range(size):
                for buffer in pull.cotangents:
                    buffer.zero_()
                part[t + 1, :, number] = 1
                pull.pull(t, t + 1)
                by_state[t, :, row] = torch.cat([buffer[t] for buffer in pull.cotangents], dim=-1)
                by_input[t, :, row] = pull.input_cotangent()[t]
                row += 1
    return by_state, by_input
