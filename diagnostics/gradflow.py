"""How far back recurrent networks learn: the gradient at every step, over length, clipped and unclipped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diagnostics.command import console, list_files, run
from diagnostics.network_options import chosen_network, chosen_workload
from diagnostics.options import Defaults, add_machine, add_network, add_output, add_sizes, integers, parser

if TYPE_CHECKING:
    from rich.console import Console

    from diagnostics.command import Parser
    from unrolled.gradients.study import Study
    from unrolled.networks.subject import Subject

# Large enough to show what theory says about large networks, small enough for a few seconds.
DEFAULTS = Defaults(input=8, hidden=64, batch=8, length=201, out=Path("results/gradflow"))
EXAMPLES = """examples:
  python -m diagnostics.gradflow
  python -m diagnostics.gradflow --cell lstm --layers 3 --init chrono:200 --length 401
  python -m diagnostics.gradflow --cell rnn_tanh --init orthogonal --gain 1.5 --clip none --clip step:1
  python -m diagnostics.gradflow --model my_package.model:make --checkpoint best.pt
"""


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m diagnostics.gradflow`; gives the exit status."""
    return run(show, make_parser(), argv)


def make_parser() -> Parser:
    """All options. What is None was not given."""
    made = parser("gradflow", __doc__, EXAMPLES)
    add_network(made, "the eight textbook ones")
    sizes = add_sizes(made, DEFAULTS, "steps of the reach table")
    sizes.add_argument(
        "--lengths", metavar="T,T,...", help="of the length table; default: 10,20,50,100,200,400"
    )
    how = made.add_argument_group("how to measure")
    how.add_argument("--loss", choices=("last", "mean"), default="last", help="at the last step, or at all")
    how.add_argument(
        "--clip",
        action="append",
        metavar="MODE",
        help="none, norm:M, value:V, tensor:M, step:M or auto:P; repeatable; default: none and norm:1",
    )
    add_machine(how)
    add_output(made, DEFAULTS)
    return made


def show(options: argparse.Namespace) -> int:
    """Measure, print both tables and what they amount to, then replace the files in `--out`."""
    import torch

    from unrolled.checks import check_size
    from unrolled.gradients.study import measure
    from unrolled.output.files import check_folder
    from unrolled.progress import ProgressLine

    check_size("--threads", options.threads)
    torch.set_num_threads(options.threads)
    subjects, length_subjects, lengths = _subjects(options)
    clips = _clips(options.clip)
    check_folder(options.out)
    torch.manual_seed(options.seed)  # for a given model that draws numbers in its forward
    progress = None if options.quiet else ProgressLine(sys.stderr)
    try:
        study = measure(
            subjects,
            length_subjects,
            lengths=lengths,
            clips=clips,
            loss=options.loss,
            seed=options.seed,
            progress=progress,
        )
    finally:
        if progress:
            progress.stop()
    screen = console()
    report(study, screen)
    paths = _write(study, options.out, not options.no_plots)
    if not options.quiet:
        list_files(screen, paths)
    return 0


def report(study: Study, screen: Console) -> None:
    """Print both tables and what they amount to."""
    from unrolled.render.gradflow_summary import summary
    from unrolled.render.gradflow_tables import LENGTH_NOTE, REACH_NOTE, length_table, reach_table

    reach, over_length = study.reach_frame(), study.lengths_frame()
    screen.print(reach_table(reach, screen.width, study.units))
    screen.print(REACH_NOTE, style="dim")
    screen.print()
    if len(over_length):
        screen.print(length_table(over_length, study.units))
        screen.print(LENGTH_NOTE, style="dim")
        screen.print()
    screen.print(summary(reach, over_length))


def _subjects(options: argparse.Namespace) -> tuple[Sequence[Subject], Sequence[Subject], tuple[int, ...]]:
    """The networks of the reach table, those of the length table, and the lengths."""
    from unrolled.errors import InvalidValueError
    from unrolled.gradients.lengths import check_lengths, lengths_for
    from unrolled.networks.textbook import length_networks, networks

    asked = None if options.lengths is None else check_lengths(integers("--lengths", options.lengths))
    workload = chosen_workload(options, DEFAULTS)
    if workload.seq_len < 2:
        raise InvalidValueError(
            "--length: expected at least 2 steps, got T = 1, which has nothing to flow back to; try 201"
        )
    one = chosen_network(options, workload)
    if one is not None:
        return [one], [one], lengths_for(one, asked)
    textbook = networks(workload)
    return textbook, length_networks(workload), lengths_for(textbook[0], asked)


def _clips(specs: list[str] | None) -> tuple[str, ...]:
    """The ways of clipping, each once, in the order given."""
    from unrolled.gradients.clipping import Clip
    from unrolled.gradients.lengths import DEFAULT_CLIPS

    return tuple(dict.fromkeys(str(Clip.parse(spec)) for spec in specs or DEFAULT_CLIPS))


def _write(study: Study, folder: Path, plots: bool) -> list[Path]:
    """`flow.csv`, `lengths.csv`, `gradflow.json` and the plots: all of them, or nothing is replaced."""
    from unrolled.output.gradflow_files import frame_to_csv, replace_together

    flow, lengths = study.flow_frame(), study.lengths_frame()

    def write(beside: Path) -> list[Path]:
        record = beside / "gradflow.json"
        study.save(record)
        paths = [
            frame_to_csv(flow, beside / "flow.csv"),
            frame_to_csv(study.lengths_table(), beside / "lengths.csv"),
            record,
        ]
        if plots:
            from unrolled.render.gradflow_plots import draw_gradflow

            paths += draw_gradflow(flow, lengths, beside, study.describe())
        return paths

    return replace_together(folder, write)


if __name__ == "__main__":
    sys.exit(main())
