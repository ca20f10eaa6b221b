"""How far back recurrent networks learn: the gradient at every step, over length, clipped and unclipped."""

from __future__ import annotations

import argparse
from pathlib import Path

from unrolled.cli.command import Measure, Parser
from unrolled.cli.networks import Defaults, add_network, chosen_networks, chosen_workload
from unrolled.cli.options import MACHINE, OUTPUT, add, integers

VIEW = "unrolled.render.gradflow"
# Large enough to show what theory says about large networks, small enough for a few seconds.
DEFAULTS = Defaults(input=8, hidden=64, batch=8, length=201)
EXAMPLES = """examples:
  unrolled gradflow
  unrolled gradflow --cell lstm --layers 3 --init chrono:200 --length 401
  unrolled gradflow --cell rnn_tanh --init orthogonal --gain 1.5 --clip none --clip step:1
  unrolled gradflow --model my_package.model:make --checkpoint best.pt
"""


def add_options(parser: Parser) -> None:
    """What is None was not given."""
    sizes = add_network(parser, DEFAULTS, "steps of the reach table")
    sizes.add_argument("--lengths", type=integers, metavar="T,T,...",
                       help="of the length table; default: 10,20,50,100,200,400")  # fmt: skip
    how = add(parser, "how to measure", "clip", *MACHINE, clip="none and norm:1")
    how.add_argument("--loss", choices=("last", "mean"), default="last", help="at the last step, or at all")
    add(parser, "where results go", *OUTPUT, out=Path("results/gradflow"))


def plan(options: argparse.Namespace) -> Measure:
    """The networks of the reach table, those of the length table, the lengths and the clips."""
    import torch

    from unrolled.errors import InvalidValueError
    from unrolled.gradients.clipping import Clip
    from unrolled.gradients.lengths import DEFAULT_CLIPS, check_lengths, lengths_for
    from unrolled.gradients.study import measure
    from unrolled.networks.textbook import length_networks, networks

    asked = None if options.lengths is None else check_lengths(options.lengths)
    clips = tuple(dict.fromkeys(str(Clip.parse(spec)) for spec in options.clip or DEFAULT_CLIPS))
    workload = chosen_workload(options, DEFAULTS)
    if workload.seq_len < 2:
        raise InvalidValueError(
            "--length: expected at least 2 steps, got T = 1, which has nothing to flow back to; try 201"
        )
    chosen = chosen_networks(options, workload)
    subjects, over_length = (chosen, chosen) if chosen else (networks(workload), length_networks(workload))
    lengths = lengths_for(subjects[0], asked)
    workload.replace(seq_len=max((workload.seq_len, *lengths))).check_memory()
    torch.manual_seed(options.seed)  # for a given model that draws numbers in its forward
    return lambda keep, progress: measure(
        subjects, over_length, lengths=lengths, clips=clips, loss=options.loss, seed=options.seed,
        keep=keep, progress=progress,
    )  # fmt: skip
