"""How many directions recurrent networks keep, and whether they are chaotic: exponents and singular values."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.cli.command import Measure, Parser
from unrolled.cli.networks import Defaults, add_network, chosen_networks, chosen_workload
from unrolled.cli.options import MACHINE, OUTPUT, add, integers, numbers, size

if TYPE_CHECKING:
    from unrolled.networks.subject import Subject
    from unrolled.networks.textbook import Network

VIEW = "unrolled.render.spectrum"
# The networks of gradflow; fewer samples over more steps, as exponents are means over time.
DEFAULTS = Defaults(input=8, hidden=64, batch=4, length=501)
GAIN_HIDDEN = 200  # units of the networks over gain: theory is about large ones
EXAMPLES = """examples:
  unrolled spectrum
  unrolled spectrum --cell lstm --layers 2 --forget-bias 2 --drive noise
  unrolled spectrum --cell rnn_tanh --init orthogonal --gain 1.5 --gains 0.5,1,1.5,2
  unrolled spectrum --model my_package.model:make --checkpoint best.pt --k 20
"""


def add_options(parser: Parser) -> None:
    """What is None was not given."""
    sizes = add_network(parser, DEFAULTS, "steps, those of the warm-up included")
    sizes.add_argument(
        "--gains", type=gains, metavar="G,G,...",
        help="largest exponent over these gains, or none; default: 9 from 0.5 to 2.5 for random networks of "
        f"{GAIN_HIDDEN} units beside the textbook, none beside other networks",
    )  # fmt: skip
    how = add(parser, "how to measure", *MACHINE)
    how.add_argument(
        "--drive", choices=("noise", "zero"), help="the input: normal noise or none; default: both"
    )
    how.add_argument("--k", type=size, help="how many exponents, from the largest down; default: all")
    how.add_argument("--lags", type=integers, metavar="K,K,...",
                     help="of the singular values; default: 1,2,5,10,...,200")  # fmt: skip
    how.add_argument("--warm-up", type=warm_up, metavar="STEPS",
                     help="left out of the exponents; default: a fifth")  # fmt: skip
    how.add_argument("--qr-every", type=qr_every, metavar="STEPS",
                     default="auto", help="steps between QRs; default: auto")  # fmt: skip
    add(parser, "where results go", *OUTPUT, out=Path("results/spectrum"))


def warm_up(text: str) -> int:
    """At least 0 steps."""
    return 0 if text == "0" else size(text)


def gains(text: str) -> tuple[float, ...]:
    """`0.5,1,2`, or none of them."""
    return () if text == "none" else numbers(text)


def qr_every(text: str) -> int | str:
    """`5`, or `auto`."""
    return text if text == "auto" else size(text)


def plan(options: argparse.Namespace) -> Measure:
    """The networks, their drives and gains; whether the numbers fit a network is found when it is run."""
    import torch

    from unrolled.spectrum.result import Settings
    from unrolled.spectrum.study import measure_study

    settings = Settings(options.k, options.warm_up, options.qr_every, options.lags)
    subjects, swept, gains = _subjects(options)
    torch.manual_seed(options.seed)  # for a given model that draws numbers in its forward
    return lambda keep, progress: measure_study(
        subjects, drives=None if options.drive is None else (options.drive,), settings=settings, swept=swept,
        gains=gains, seed=options.seed, keep=keep, progress=progress,
    )  # fmt: skip


def _subjects(options: argparse.Namespace) -> tuple[Sequence[Subject], Network | None, tuple[float, ...]]:
    """The networks of the table, the one that is run over gains, and the gains."""
    from unrolled.errors import InvalidValueError
    from unrolled.networks.textbook import Network, networks
    from unrolled.spectrum.gain_curve import DEFAULT_GAINS, check_gains, gaussian

    over = check_gains(options.gains) if options.gains else DEFAULT_GAINS
    workload = chosen_workload(options, DEFAULTS)
    chosen = chosen_networks(options, workload)
    if not chosen:
        large = workload.replace(hidden_size=options.hidden or GAIN_HIDDEN)
        plain = large.replace(num_layers=1, bidirectional=False)
        return networks(workload), None if options.gains == () else gaussian(plain), over
    one = chosen[0] if len(chosen) == 1 else None
    if options.gains and not (isinstance(one, Network) and not one.workload.is_own):
        raise InvalidValueError(
            f"--gains: expected one network that --cell and the like describe, got "
            f"{', '.join(network.name for network in chosen)}, which starts as it does itself; leave it out"
        )
    return chosen, one if options.gains and isinstance(one, Network) else None, over
