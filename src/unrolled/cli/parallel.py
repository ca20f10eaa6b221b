"""Whether recurrent networks can be run in parallel over time: Newton's iterations, beside the exponent."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.cli.command import Measure, Parser
from unrolled.cli.networks import Defaults, chosen_networks, chosen_workload
from unrolled.cli.options import MACHINE, OUTPUT, add, integers, positive, size

if TYPE_CHECKING:
    from unrolled.networks.subject import Subject

VIEW = "unrolled.render.parallel"
LENGTHS = (50, 100, 200, 400)
TOLERANCE = 1e-8
DEFAULTS = Defaults(input=8, hidden=32, batch=1, length=LENGTHS[-1])
EXAMPLES = """examples:
  unrolled parallel
  unrolled parallel --cell gru,lstm --hidden 64 --lengths 250,500,1000,2000
  unrolled parallel --cell rnn_tanh --init orthogonal --gain 1.5 --tolerance 1e-10
  unrolled parallel --model my_package.model:make --checkpoint best.pt
"""


def add_options(parser: Parser) -> None:
    """What is None was not given."""
    add(
        parser, "networks in place of the eight default ones (any of these options)",
        "cell", "init", "gain", "forget-bias", "model", "checkpoint",
        cell="lstm with --forget-bias or chrono, else rnn_tanh",
    )  # fmt: skip
    add(
        parser, "sizes", "hidden", "layers", "input", "bidirectional", "batch", hidden=DEFAULTS.hidden, layers=1,
        input=DEFAULTS.input, batch=DEFAULTS.batch,
    )  # fmt: skip
    how = add(parser, "how to measure", *MACHINE, dtype={"help": "of the network before it is run in float64"})
    how.add_argument(
        "--lengths", type=integers, metavar="T,T,...",
        help=f"steps that are solved at once; default: {','.join(map(str, LENGTHS))}",
    )  # fmt: skip
    how.add_argument("--tolerance", type=positive, help="largest residual at the end; default: 1e-8")
    how.add_argument("--limit", type=size, metavar="N", help="iterations at most; default: as many as steps")
    add(parser, "where results go", *OUTPUT, out=Path("results/parallel"))


def plan(options: argparse.Namespace) -> Measure:
    """The networks, their lengths and the tolerance."""
    import torch

    from unrolled.over_time.measure import check_options
    from unrolled.over_time.study import measure

    tolerance = TOLERANCE if options.tolerance is None else options.tolerance
    lengths = check_options(options.lengths or LENGTHS, tolerance, options.limit)
    networks = _networks(options, lengths)
    torch.manual_seed(options.seed)  # for a given model that draws numbers in its forward
    return lambda keep, progress: measure(networks, lengths, tolerance, options.limit, progress, keep)


def _networks(options: argparse.Namespace, lengths: tuple[int, ...]) -> Sequence[Subject]:
    """Over inputs as long as the longest of the lengths, where they are made here."""
    from unrolled.networks.model import UserModel
    from unrolled.over_time.study import default_networks

    options.length = None
    workload = chosen_workload(options, DEFAULTS).replace(seq_len=lengths[-1])
    workload.check_memory()
    chosen = chosen_networks(options, workload)
    if not chosen:
        return default_networks(workload)
    return [
        UserModel(each.name, each.model, each.inputs, each.batch_size, lengths[-1], each.seed, each.cells)
        if isinstance(each, UserModel) and each.inputs is None
        else each
        for each in chosen
    ]
