"""Recurrences that the tests of Newton's method solve."""

import torch

from unrolled.cells import cell_named
from unrolled.cells.weights import Weights
from unrolled.newton.recurrence import LayerRecurrence

GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}


def random_layer(cell, hidden, steps, *, gain=1.0, batch=1, inputs=3, seed=0):
    """A layer with weights of that gain and normal inputs."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rows = GATES[cell] * hidden
    weights = Weights(
        normal(rows, inputs) / inputs**0.5, gain * normal(rows, hidden) / hidden**0.5, 0.1 * normal(rows),
        0.1 * normal(rows), None,
    )  # fmt: skip
    return LayerRecurrence(cell_named(cell), weights, normal(steps, batch, inputs))


def noisy_tanh(hidden, gain, steps, noise=0.3, seed=0):
    """`h_t = tanh(W h_{t-1} + noise ξ_t)`, `W_ij ~ N(0, g²/N)`."""
    generator = torch.Generator().manual_seed(seed)
    weight = gain * torch.randn(hidden, hidden, generator=generator, dtype=torch.float64) / hidden**0.5
    x = noise * torch.randn(steps, 1, hidden, generator=generator, dtype=torch.float64)
    weights = Weights(torch.eye(hidden, dtype=torch.float64), weight, None, None, None)
    return LayerRecurrence(cell_named("rnn_tanh"), weights, x)


def start(recurrence, seed=1):
    """A random state before the first step."""
    generator = torch.Generator().manual_seed(seed)
    batch = recurrence.inputs.shape[1]
    return torch.randn(batch, recurrence.size, generator=generator, dtype=torch.float64).tanh()
