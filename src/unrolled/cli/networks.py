"""From the options that describe networks to the networks, if they do."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unrolled.cli.command import Parser
from unrolled.cli.options import add

if TYPE_CHECKING:
    from unrolled.networks.model import UserModel
    from unrolled.networks.subject import Subject
    from unrolled.networks.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """The sizes a command takes where none are given."""

    input: int
    hidden: int
    batch: int
    length: int


def add_network(parser: Parser, defaults: Defaults, length: str) -> argparse._ArgumentGroup:
    """What describes networks in place of the textbook's, and sizes; `length` says what its steps are of."""
    add(
        parser, "networks in place of the eight textbook ones (any of these options)",
        "cell", "init", "gain", "forget-bias", "model", "checkpoint",
        cell="lstm with --forget-bias or chrono, else rnn_tanh",
    )  # fmt: skip
    return add(
        parser, "sizes", "hidden", "layers", "input", "bidirectional", "batch", "length", hidden=defaults.hidden,
        layers=1, input=defaults.input, batch=defaults.batch, length={"help": f"{length}; default: {defaults.length}"},
    )  # fmt: skip


def chosen_workload(options: argparse.Namespace, defaults: Defaults) -> Workload:
    """The sizes asked for, checked, for textbook networks or for others."""
    from unrolled.networks.workload import Workload

    workload = Workload(
        input_size=options.input or defaults.input,
        hidden_size=options.hidden or defaults.hidden,
        num_layers=options.layers or 1,
        batch_size=options.batch or defaults.batch,
        seq_len=options.length or defaults.length,
        bidirectional=options.bidirectional,
        dtype="float32" if options.dtype is None else options.dtype,
        device="cpu" if options.device is None else options.device,
        seed=options.seed,
        cell="rnn_tanh",
    )
    workload.check_device()
    return workload


def chosen_networks(options: argparse.Namespace, workload: Workload) -> list[Subject]:
    """The networks that the options describe, with their checkpoint; none where the textbook is asked for."""
    from unrolled.errors import InvalidValueError
    from unrolled.networks.checkpoint import load_checkpoint
    from unrolled.networks.model import UserModel
    from unrolled.networks.textbook import described

    if options.model is not None:
        return [_user_model(options, workload)]
    if not any(_said(options).values()) and options.checkpoint is None:
        return []
    networks = [
        described(workload, cell, options.init, options.gain, options.forget_bias)
        for cell in options.cell or (None,)
    ]
    if options.checkpoint is None:
        return list(networks)
    if len(networks) > 1:
        raise InvalidValueError(
            f"--checkpoint: expected one cell that it is of, got {', '.join(options.cell)}; name one"
        )
    module = networks[0].module()
    load_checkpoint(module, options.checkpoint)
    return [
        UserModel(
            name=f"{networks[0].name}, {options.checkpoint.name}",
            model=module,
            batch_size=workload.batch_size,
            seq_len=workload.seq_len,
            seed=workload.seed,
        )
    ]


def _said(options: argparse.Namespace) -> dict[str, bool]:
    """The options that describe a network, and whether they were given."""
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
    own_cells = [path for path in options.cell or () if ":" in path]
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
