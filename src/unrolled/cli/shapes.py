"""The shapes of recurrent layers and cells: parameters, outputs, states, and module against loop of cells."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from unrolled.cli.command import Measure, Parser
from unrolled.cli.options import OUTPUT, add, size
from unrolled.errors import InvalidValueError
from unrolled.networks.workload import DTYPES

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.progress import ProgressLine
    from unrolled.shapes.configuration import Configuration
    from unrolled.shapes.record import Shapes

VIEW = "unrolled.render.shapes"
# 10 words of 3 sentences, word vectors of 100: what the walkthrough reads.
INPUT, HIDDEN, LAYERS, BATCH, LENGTH = 100, 20, 1, 3, 10
SIZES = ("cell", "input", "hidden", "layers", "batch", "length", "bidirectional")
EXAMPLES = """examples:
  unrolled shapes
  unrolled shapes --cell lstm --layers 2 --bidirectional --proj-size 5 --out results/shapes
  unrolled shapes --cell gru --hidden 30+20 --batch-first
  unrolled shapes --json | python -m json.tool
"""


def add_options(parser: Parser) -> None:
    """What is None was not given."""
    one = add(
        parser, "one network, fused and as a loop of cells (any of these options)", *SIZES,
        cell="lstm with --proj-size, else rnn_tanh", input=INPUT, batch=BATCH, length=LENGTH,
        hidden={"type": layer_sizes, "metavar": "H[+H+...]",
                "help": f"of all layers or each; default: {HIDDEN}"},
        layers=f"{LAYERS}, or as --hidden says",
    )  # fmt: skip
    one.add_argument("--batch-first", action="store_true", help="input (B, T, I) in place of (T, B, I)")
    one.add_argument("--unbatched", action="store_true", help="input (T, I)")
    one.add_argument("--no-bias", action="store_true", help="no bias_ih and bias_hh")
    one.add_argument(
        "--proj-size", type=proj_size, metavar="P", help="project the hidden state of an LSTM to P"
    )
    add(
        parser,
        "how to compute the differences",
        "dtype",
        "device",
        "seed",
        "threads",
        dtype={"choices": DTYPES},
    )
    where = add(parser, "where results go", *OUTPUT)
    where.add_argument("--json", action="store_true", help="print JSON in place of the tables")


def proj_size(text: str) -> int:
    """`5`, or 0 for none."""
    return 0 if text == "0" else size(text)


def layer_sizes(text: str) -> int | tuple[int, ...]:
    """`20`, or `30+20` for two layers; with commas too."""
    try:
        sizes = tuple(size(word) for word in text.replace(",", "+").split("+"))
    except InvalidValueError:
        raise InvalidValueError(f"expected a size, or one per layer such as 30+20, got {text!r}") from None
    return sizes if len(sizes) > 1 else sizes[0]


def plan(options: argparse.Namespace) -> Measure:
    """The walkthrough, or both forms of the network that the options describe."""
    from unrolled.shapes.measure import measure

    configurations = _configurations(options)

    def work(keep: object, progress: ProgressLine) -> Shapes:
        progress.start(len(configurations))
        return measure(configurations, before=progress.show, after=progress.advance)

    return work


def _configurations(options: argparse.Namespace) -> tuple[Configuration, ...]:
    from unrolled.networks.workload import Workload
    from unrolled.shapes.configuration import Configuration, both_forms, walkthrough

    given = {"dtype": options.dtype, "device": options.device, "seed": options.seed}
    common = {name: value for name, value in given.items() if value is not None}
    asked = (getattr(options, name) for name in (*SIZES, "batch_first", "unbatched", "no_bias", "proj_size"))
    if all(value is None or value is False for value in asked):
        return walkthrough(**common)
    if options.unbatched and (options.batch is not None or options.batch_first):
        other = "--batch-first" if options.batch_first else "--batch"
        raise InvalidValueError(f"--unbatched: expected an input (T, I), got {other} beside it; leave one out")
    cell, *more = options.cell or ("lstm" if options.proj_size else "rnn_tanh",)
    if more:
        raise InvalidValueError(f"--cell: expected one cell, got {', '.join(options.cell)}; name one")
    hidden = options.hidden or HIDDEN
    workload = Workload(
        cell=cell,
        input_size=options.input or INPUT,
        hidden_size=hidden,
        num_layers=options.layers or (None if isinstance(hidden, tuple) else LAYERS),
        batch_size=1 if options.unbatched else options.batch or BATCH,
        seq_len=options.length or LENGTH,
        bidirectional=options.bidirectional,
        bias=not options.no_bias,
        batch_first=options.batch_first,
        proj_size=options.proj_size or 0,
        **common,
    )
    return both_forms(Configuration(workload=workload, batched=not options.unbatched))


def show(shapes: Shapes, screen: Console, options: argparse.Namespace) -> None:
    """The tables, or the file that keeps them."""
    from unrolled.render import shapes as view

    if options.json:
        sys.stdout.write(shapes.text())
    else:
        view.show(shapes, screen, options.explain)


def status(shapes: Shapes) -> int:
    """1 where a module and its loop do not agree."""
    return 0 if shapes.agree else 1
