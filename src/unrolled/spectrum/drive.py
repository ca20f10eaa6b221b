"""The input that runs through a network while its spectrum is measured, and the state that it starts from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells import cell_of
from unrolled.cells.build import Unrolled
from unrolled.cells.own import parts_of
from unrolled.errors import InvalidValueError
from unrolled.networks.model import UserModel
from unrolled.networks.subject import Subject
from unrolled.networks.textbook import Network

# Standard normal noise or no input; `given` is the input that somebody's model brought along.
DRIVES = ("noise", "zero")
GIVEN = "given"
STATE_STREAM = 4  # of the workload's random numbers; 1 and 2 are for its input and target, 3 for its weights


def drives_for(network: Subject, drives: tuple[str, ...] | None) -> tuple[str, ...]:
    """The drives asked for; by default all, or only its own input for a model that brings one.

    Raises `InvalidValueError` for noise in place of such an input, and for an unknown drive.
    """
    own = isinstance(network, UserModel) and network.inputs is not None
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

    Without input the start is random, as a network that starts at rest may stay there, stable or not. A model that is
    more than a recurrent module, or brings an input of its own, starts by itself.
    """
    inputs = network.input()
    if drive != "zero":
        return inputs, None
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        raise InvalidValueError(
            f"drive: expected an input of numbers to put zeros in its place, got another from {network.name}; leave "
            "the drive out"
        )
    own_input = isinstance(network, UserModel) and network.inputs is not None
    zeros = torch.zeros_like(inputs)
    if not own_input and isinstance(module, nn.RNNBase | Unrolled):
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
    like = next(module.parameters())

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64).to(like)

    sizes = {"hidden_size": module.hidden_size, "proj_size": module.proj_size}
    return cell_of(module).state(uniform, rows, workload.batch_size, **sizes)


def first_sample(network: Subject, inputs: Any, state: Any) -> tuple[Any, Any]:
    """Input and state of sample 0 alone; an input that the model brought is left whole."""
    if isinstance(network, UserModel) and network.inputs is not None:
        return inputs, state
    batch_first = isinstance(network, UserModel) and network.batch_first
    sample = inputs[:1] if batch_first else inputs[:, :1]
    if isinstance(state, tuple):
        return sample, tuple(part[:, :1] for part in state)
    return sample, None if state is None else state[:, :1]


def steps_of(network: Subject) -> int:
    """The number of steps of its input; 0 where only the model knows."""
    if isinstance(network, Network):
        return network.workload.seq_len
    return network.seq_len if network.inputs is None else network.longest or 0
