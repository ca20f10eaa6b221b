"""What runs through a network while its spectrum is taken, and the state that it starts from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.build import Unrolled
from unrolled.cells.own import parts_of
from unrolled.errors import InvalidValueError
from unrolled.networks.model import GivenNetwork
from unrolled.networks.subject import Subject
from unrolled.networks.textbook import Network

# Standard normal noise or nothing; `given` is the input that a given model brought.
DRIVES = ("noise", "zero")
GIVEN = "given"
STATE_STREAM = 4  # of the workload's random numbers; 1 and 2 are its input and target, 3 its weights


def drives_for(network: Subject, drives: tuple[str, ...] | None) -> tuple[str, ...]:
    """The drives asked for; by default all, or for a model that brings its input that input alone.

    Raises `InvalidValueError` for noise in place of such an input, and for an unknown drive.
    """
    own = isinstance(network, GivenNetwork) and network.inputs is not None
    if drives is None:
        return (GIVEN,) if own else DRIVES
    for drive in drives:
        if drive not in DRIVES:
            raise InvalidValueError(f"drive: expected {' or '.join(DRIVES)}, got {drive!r}; try zero")
    if own and "noise" in drives:
        raise InvalidValueError(
            f"drive: expected zero for {network.name}, which brings its own input, got noise; leave it out"
        )
    return drives


def driven(network: Subject, module: nn.Module, drive: str) -> tuple[Any, Any]:
    """The input under a drive, and the state to start from: None is zeros.

    Without input the start is random, as a network that starts at rest may stay there, stable or not. A model
    with more to it than a recurrent module, or with an input of its own, starts as it does.
    """
    inputs = network.input()
    if drive != "zero":
        return inputs, None
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        raise InvalidValueError(
            f"drive: expected an input of numbers to put zeros in its place, got another from {network.name}; "
            "leave the drive out"
        )
    made = isinstance(network, Network) or network.inputs is None
    zeros = torch.zeros_like(inputs)
    if made and isinstance(module, nn.RNNBase | Unrolled):
        return zeros, random_state(module, network, zeros)
    return zeros, None


def random_state(module: nn.RNNBase | Unrolled, network: Subject, inputs: Tensor) -> Any:
    """A state uniform between 0 and 1, one for each sample: `h`, or `(h, c)`, in torch.nn's layout.

    That of anybody's cell has the shapes of what it gives after the first step of `inputs`.
    """
    workload = network.workload if isinstance(network, Network) else network
    generator = torch.Generator().manual_seed(workload.seed + 1_000_003 * STATE_STREAM)
    if isinstance(module, Unrolled):
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            state = module(inputs[:1])[1]
        drawn = tuple(
            torch.rand(part.shape, generator=generator, dtype=torch.float64).to(part)
            for part in parts_of(state)
        )
        return drawn[0] if isinstance(state, Tensor) else drawn
    rows = module.num_layers * (2 if module.bidirectional else 1)
    sizes = (module.proj_size or module.hidden_size, module.hidden_size)
    like = next(module.parameters())
    h, c = (
        torch.rand(rows, workload.batch_size, size, generator=generator, dtype=torch.float64).to(like)
        for size in sizes
    )
    return (h, c) if module.mode == "LSTM" else h


def first_sample(network: Subject, inputs: Any, state: Any) -> tuple[Any, Any]:
    """Input and state of sample 0 alone; all of an input that a given model brought."""
    if isinstance(network, GivenNetwork) and network.inputs is not None:
        return inputs, state
    batch_first = isinstance(network, GivenNetwork) and network.batch_first
    one = inputs[:1] if batch_first else inputs[:, :1]
    if state is None:
        return one, None
    return one, tuple(part[:, :1] for part in state) if isinstance(state, tuple) else state[:, :1]


def steps_of(network: Subject) -> int:
    """The steps of its input; 0 where only the model knows."""
    if isinstance(network, Network):
        return network.workload.seq_len
    return network.seq_len if network.inputs is None else network.longest or 0
