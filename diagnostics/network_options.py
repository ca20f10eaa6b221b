"""From the options that the commands on networks share to the one network they describe, if they do."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from diagnostics.options import Defaults

if TYPE_CHECKING:
    from unrolled.networks.model import UserModel
    from unrolled.networks.subject import Subject
    from unrolled.networks.workload import Workload


def chosen_workload(options: argparse.Namespace, defaults: Defaults, dtype: str = "float32") -> Workload:
    """The sizes asked for, checked, for textbook networks or for one."""
    from unrolled.errors import InvalidValueError
    from unrolled.networks.workload import Workload

    if not 0 <= options.seed < 2**31:
        raise InvalidValueError(f"--seed: expected a number from 0 to 2147483647, got {options.seed}; try 0")
    workload = Workload(
        cell=(None if options.model else options.cell) or "rnn_tanh",  # beside --model it says no size
        input_size=defaults.input if options.input is None else options.input,
        hidden_size=defaults.hidden if options.hidden is None else options.hidden,
        num_layers=1 if options.layers is None else options.layers,
        batch_size=defaults.batch if options.batch is None else options.batch,
        seq_len=defaults.length if options.length is None else options.length,
        bidirectional=options.bidirectional,
        dtype=options.dtype or dtype,
        device=options.device or "cpu",
        seed=options.seed,
    )
    workload.check_device()
    return workload


def chosen_network(options: argparse.Namespace, workload: Workload) -> Subject | None:
    """The network that the options describe, with its checkpoint; None where the textbook is asked for."""
    from unrolled.networks.checkpoint import load_checkpoint
    from unrolled.networks.model import UserModel
    from unrolled.networks.textbook import described

    if options.model is not None:
        return _user_model(options, workload)
    if not any(_said(options).values()) and options.checkpoint is None:
        return None
    network = described(workload, options.cell, options.init, options.gain, options.forget_bias)
    if options.checkpoint is None:
        return network
    module = network.module()
    load_checkpoint(module, options.checkpoint)
    return UserModel(
        name=f"{network.name}, {options.checkpoint.name}",
        model=module,
        batch_size=workload.batch_size,
        seq_len=workload.seq_len,
        seed=workload.seed,
    )


def _said(options: argparse.Namespace) -> dict[str, bool]:
    """The options that describe one network, and whether they were given."""
    return {
        "--cell": options.cell is not None,
        "--init": options.init is not None,
        "--gain": options.gain is not None,
        "--forget-bias": options.forget_bias is not None,
    }


def _user_model(options: argparse.Namespace, workload: Workload) -> UserModel:
    """What `--model` names, filled from `--checkpoint`, on `--device` and in `--dtype` where given.

    `--cell package.module:Name` beside it names cells in the model that are not torch's.
    """
    from unrolled.errors import InvalidValueError
    from unrolled.networks.checkpoint import load_checkpoint
    from unrolled.networks.model import UserModel, load_model
    from unrolled.plugins import resolve

    sizes = {"--hidden": options.hidden, "--layers": options.layers, "--input": options.input}
    own_cells = [path for path in (options.cell or "").split(",") if ":" in path]
    refused = [name for name, given in _said(options).items() if given and not (name == "--cell" and own_cells)]
    refused += [name for name, value in sizes.items() if value is not None]
    refused += ["--bidirectional"] * options.bidirectional
    if refused:
        raise InvalidValueError(
            f"--model: expected a factory that decides about its network alone, got {', '.join(refused)} "
            "beside it; leave that out, or describe a network without --model"
        )
    model, inputs = load_model(options.model, options.seed)
    if inputs is not None and (options.batch is not None or options.length is not None):
        raise InvalidValueError(
            f"--model: expected no --batch or --length, as {options.model} returned an input of its own; "
            "leave them out, or return the model alone"
        )
    if options.checkpoint is not None:
        load_checkpoint(model, options.checkpoint)
    cells: tuple[Any, ...] = tuple(resolve(path, "cell") for path in own_cells)
    network = UserModel(
        options.model, model, inputs, workload.batch_size, workload.seq_len, workload.seed, cells
    )
    _ = network.targets  # refused here where there is none
    return network.to(options.device, options.dtype)
