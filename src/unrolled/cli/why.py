"""Why a loop is slower: a ladder from a loop of cells to the fused module, what each rung saves, and floors below."""

from __future__ import annotations

import argparse
from pathlib import Path

from unrolled.cells import CELLS
from unrolled.cli.command import Measure, Parser
from unrolled.cli.options import OUTPUT, add, seconds
from unrolled.networks.workload import DTYPES

VIEW = "unrolled.render.why"
CELL, INPUT, HIDDEN, LAYERS, BATCH, LENGTH = "lstm", 64, 128, 1, 16, 50
PHASES = ("forward", "training")
BUDGET = 10.0
EXAMPLES = """examples:
  unrolled why
  unrolled why --cell gru --batch 1 --phase forward
  unrolled why --cell rnn_tanh --layers 2 --hidden 512 --threads 2
  unrolled why --no-sizes --out results/why
"""


def add_options(parser: Parser) -> None:
    """One workload, and how long it may take."""
    sizes = add(
        parser, "the workload", "input", "hidden", "layers", "batch", "length", "bidirectional",
        input=INPUT, hidden=HIDDEN, layers=LAYERS, batch=BATCH, length=LENGTH,
    )  # fmt: skip
    sizes.add_argument("--cell", choices=CELLS, default=CELL, help=f"default: {CELL}")
    sizes.add_argument("--phase", choices=PHASES, default="training", help="default: training")
    how = add(
        parser, "how to measure", "dtype", "device", "seed", "threads",
        dtype={"choices": DTYPES}, threads={"default": None, "help": "of torch; default: torch's own"},
    )  # fmt: skip
    how.add_argument("--budget", type=seconds, default=BUDGET, metavar="SECONDS",
                     help=f"of timed rounds; default: {BUDGET:g}")  # fmt: skip
    how.add_argument("--no-sizes", action="store_true", help="no other sizes, and no model of them")
    how.add_argument("--no-tries", action="store_true", help="do not try other threads, dtypes and layouts")
    how.add_argument("--calls", type=int, metavar="N", help="also try whether compiling pays within N calls")
    add(parser, "where results go", *OUTPUT, out=Path("results/why"))


def plan(options: argparse.Namespace) -> Measure:
    """The workload that the options describe."""
    from unrolled.networks.workload import Workload
    from unrolled.speed.why.measure import why

    workload = Workload(
        cell=options.cell,
        input_size=options.input or INPUT,
        hidden_size=options.hidden or HIDDEN,
        num_layers=options.layers or LAYERS,
        batch_size=options.batch or BATCH,
        seq_len=options.length or LENGTH,
        bidirectional=options.bidirectional,
        dtype=options.dtype or "float32",
        device=options.device or "cpu",
        seed=options.seed,
    )
    workload.check_memory()
    return lambda keep, progress: why(
        workload, options.phase, budget=options.budget, threads=options.threads, sizes=not options.no_sizes,
        tries=not options.no_tries, calls=options.calls, keep=keep, progress=progress,
    )  # fmt: skip
