"""What is learned in the end: tasks of known delay, trained on, beside the horizon that the start predicts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.cli.command import Measure, Parser
from unrolled.cli.options import MACHINE, OUTPUT, add, integers, positive, size

if TYPE_CHECKING:
    from unrolled.learning.settings import Settings
    from unrolled.networks.textbook import Network
    from unrolled.networks.workload import Workload

VIEW = "unrolled.render.learn"
HIDDEN = 32
EXAMPLES = """examples:
  unrolled learn
  unrolled learn --task adding --delays 10,20,40,80 --iterations 2000
  unrolled learn --cell lstm --init chrono:100 --seeds 5
  unrolled learn --cell rnn_tanh --init orthogonal --gain 1.1 --clip agc:0.01
"""


def add_options(parser: Parser) -> None:
    """What is None was not given."""
    task = parser.add_argument_group("the task")
    task.add_argument("--task", default="recall", help="recall, copy, adding or xor; default: recall")
    task.add_argument("--delays", type=integers, metavar="D,D,...", help="default: 5,10,20,40,80,160")
    task.add_argument(
        "--every-delay", action="store_true", help="go on after a delay that a seed did not learn"
    )
    add(
        parser, "networks in place of the six textbook ones (any of these options)",
        "cell", "init", "gain", "forget-bias", cell="lstm with --forget-bias or chrono, else rnn_tanh",
    )  # fmt: skip
    add(
        parser, "sizes", "hidden", "layers", "bidirectional", "batch", hidden=HIDDEN, layers=1,
        batch={"help": "sequences at a time; default: 16"},
    )  # fmt: skip
    how = add(parser, "how to train", *MACHINE)
    how.add_argument("--seeds", type=size, metavar="N", help="trainings of each network; default: 10")
    how.add_argument("--iterations", type=size, metavar="N", help="at most; default: 200")
    how.add_argument("--lr", type=positive, help="of Adam; default: 0.005")
    how.add_argument("--clip", metavar="MODE", help="as in gradflow; default: norm:1")
    add(parser, "where results go", *OUTPUT, out=Path("results/learn"))


def plan(options: argparse.Namespace) -> Measure:
    """The networks, and how they are trained."""
    from unrolled.learning.settings import Settings
    from unrolled.learning.study import measure

    asked = ("delays", "seeds", "iterations", "lr", "clip")
    given = {name: getattr(options, name) for name in asked if getattr(options, name) is not None}
    if options.batch is not None:
        given["batch_size"] = options.batch
    settings = Settings(task=options.task, every_delay=options.every_delay, **given)
    networks = _networks(options, settings)
    return lambda keep, progress: measure(networks, settings, progress, keep)


def _networks(options: argparse.Namespace, settings: Settings) -> tuple[Network, ...]:
    from unrolled.networks.textbook import described, memory_networks

    workload = _workload(options, settings)
    said = (options.cell, options.init, options.gain, options.forget_bias)
    if said == (None,) * len(said):
        return memory_networks(workload, settings.delays[-1])
    return tuple(
        described(workload, cell, options.init, options.gain, options.forget_bias)
        for cell in options.cell or (None,)
    )


def _workload(options: argparse.Namespace, settings: Settings) -> Workload:
    """Of the task's inputs, and as long as its longest sequences."""
    from unrolled.networks.workload import Workload

    workload = Workload(
        cell="rnn_tanh",
        input_size=settings.of.inputs,
        hidden_size=options.hidden or HIDDEN,
        num_layers=options.layers or 1,
        batch_size=settings.batch_size,
        seq_len=settings.of.steps(settings.reach_delay),
        bidirectional=options.bidirectional,
        dtype=options.dtype or "float32",
        device=options.device or "cpu",
        seed=options.seed,
    )
    workload.check_memory()
    return workload
