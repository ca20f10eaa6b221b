"""The shapes of recurrent layers and cells: parameters, outputs, states, and module against loop of cells."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diagnostics.command import Parser, console, list_files, run
from diagnostics.options import cell
from unrolled.cells import CELLS
from unrolled.networks.workload import DTYPES

if TYPE_CHECKING:
    from unrolled.progress import ProgressLine
    from unrolled.shapes.configuration import Configuration
    from unrolled.shapes.record import Shapes

# 10 words of 3 sentences, word vectors of 100: what the walkthrough reads.
INPUT, HIDDEN, LAYERS, BATCH, LENGTH = 100, 20, 1, 3, 10
EXAMPLES = """examples:
  python -m diagnostics.shapes
  python -m diagnostics.shapes --cell lstm --layers 2 --bidirectional --proj-size 5 --out results/shapes
  python -m diagnostics.shapes --cell gru --hidden 30,20 --batch-first
  python -m diagnostics.shapes --json | python -m json.tool
"""


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m diagnostics.shapes`; gives the exit status."""
    return run(show, make_parser(), argv)


def make_parser() -> Parser:
    """All options. What is None was not given."""
    parser = Parser(
        prog="python -m diagnostics.shapes",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one = parser.add_argument_group("one network, fused and as a loop of cells (any of these options)")
    one.add_argument("--cell", type=cell, metavar="CELL", help=f"{', '.join(CELLS)}, or your own package.module:Name; "
                     "default: lstm with --proj-size, else rnn_tanh")  # fmt: skip
    one.add_argument("--input", type=int, metavar="I", help=f"input features; default: {INPUT}")
    one.add_argument("--hidden", metavar="H[,H,...]", help=f"units, of all layers or each; default: {HIDDEN}")
    one.add_argument("--layers", type=int, metavar="L", help=f"layers; default: {LAYERS}, or as --hidden says")
    one.add_argument("--batch", type=int, metavar="B", help=f"sequences; default: {BATCH}")
    one.add_argument("--length", type=int, metavar="T", help=f"steps; default: {LENGTH}")
    one.add_argument("--bidirectional", action="store_true", help="run every layer both ways")
    one.add_argument("--batch-first", action="store_true", help="input (B, T, I) in place of (T, B, I)")
    one.add_argument("--unbatched", action="store_true", help="input (T, I)")
    one.add_argument("--no-bias", action="store_true", help="no bias_ih and bias_hh")
    one.add_argument("--proj-size", type=int, metavar="P", help="project the hidden state of an LSTM to P")
    how = parser.add_argument_group("how to compute the differences")
    how.add_argument("--dtype", choices=DTYPES, default="float32", help="default: float32")
    how.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; default: cpu")
    how.add_argument("--seed", type=int, default=0, help="of weights, input and initial state; default: 0")
    where = parser.add_argument_group("where results go")
    where.add_argument("--json", action="store_true", help="print JSON in place of the tables")
    where.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for pictures of the unrolled network, and data"
    )
    where.add_argument("--quiet", action="store_true", help="no progress, and no list of the files written")
    return parser


def show(options: argparse.Namespace) -> int:
    """Describe, print, replace the files in `--out`; 1 where a module and its loop do not agree."""
    from unrolled.output.files import check_folder
    from unrolled.progress import ProgressLine
    from unrolled.shapes.measure import measure

    configurations = _configurations(options)
    if options.out is not None:
        check_folder(options.out)
    pictures = {} if options.out is None else _pictures(configurations)
    progress = ProgressLine(sys.stderr)
    try:
        if not options.quiet:
            progress.start(len(configurations) + len(pictures))
        found = measure(configurations, before=progress.show, after=progress.advance)
        paths = _write(found, options.out, pictures, progress) if options.out is not None else []
    finally:
        progress.stop()
    if options.json:
        sys.stdout.write(found.to_json())
    else:
        _print(found)
        if paths and not options.quiet:
            list_files(console(), paths)
    return 0 if found.agree else 1


def _configurations(options: argparse.Namespace) -> tuple[Configuration, ...]:
    """The walkthrough, or both forms of the network that the options describe."""
    from unrolled.errors import InvalidValueError
    from unrolled.networks.workload import Workload
    from unrolled.shapes.configuration import Configuration, both_forms, walkthrough

    if not 0 <= options.seed < 2**31:
        raise InvalidValueError(f"--seed: expected a number from 0 to 2147483647, got {options.seed}; try 0")
    common = {"dtype": options.dtype, "device": options.device, "seed": options.seed}
    flags = ("bidirectional", "batch_first", "unbatched", "no_bias")
    sizes = ("cell", "input", "hidden", "layers", "batch", "length", "proj_size")
    if not any(getattr(options, flag) for flag in flags) and all(
        getattr(options, size) is None for size in sizes
    ):
        return walkthrough(**common)
    if options.unbatched and (options.batch is not None or options.batch_first):
        other = "--batch-first" if options.batch_first else "--batch"
        raise InvalidValueError(f"--unbatched: expected an input (T, I), got {other} beside it; leave one out")
    hidden = _hidden(options.hidden)
    default_layers = None if isinstance(hidden, tuple) else LAYERS
    workload = Workload(
        cell=options.cell or ("lstm" if options.proj_size else "rnn_tanh"),
        input_size=INPUT if options.input is None else options.input,
        hidden_size=hidden,
        num_layers=default_layers if options.layers is None else options.layers,
        batch_size=1 if options.unbatched else BATCH if options.batch is None else options.batch,
        seq_len=LENGTH if options.length is None else options.length,
        bidirectional=options.bidirectional,
        **common,
    )
    return both_forms(
        Configuration(
            workload=workload,
            batch_first=options.batch_first,
            batched=not options.unbatched,
            bias=not options.no_bias,
            proj_size=options.proj_size or 0,
        )
    )


def _hidden(text: str | None) -> int | tuple[int, ...]:
    from unrolled.errors import InvalidValueError

    try:
        sizes = (HIDDEN,) if text is None else tuple(int(word) for word in text.split(","))
    except ValueError:
        raise InvalidValueError(
            f"--hidden: expected a number, or one per layer with commas in between, got {text!r}; try 30,20"
        ) from None
    return sizes if len(sizes) > 1 else sizes[0]


def _print(found: Shapes) -> None:
    """The tables, and what they amount to."""
    from unrolled.render.shapes_tables import parameter_table, shapes_table

    screen = console()
    frame, parameters = found.frame(), found.parameter_frame()
    screen.print(shapes_table(frame, parameters, screen.width))
    screen.print()
    if frame["cell"].nunique() == 1:
        screen.print(parameter_table(parameters[parameters["configuration"] == frame["name"][0]]))
        screen.print()
    screen.print(found.summary())


def _pictures(configurations: Sequence[Configuration]) -> dict[str, str]:
    """The name of the picture's file by configuration: one where all are forms of one network."""
    if len({configuration.workload.cell for configuration in configurations}) == 1:
        return {configurations[0].name: "unrolled"}
    return {configuration.name: f"unrolled-{configuration.name}" for configuration in configurations}


def _write(found: Shapes, folder: Path, pictures: dict[str, str], progress: ProgressLine) -> list[Path]:
    """`shapes.csv`, `parameters.csv`, `shapes.json` and the pictures: all of them, or nothing is replaced."""
    from unrolled.output.gradflow_files import frame_to_csv, replace_together
    from unrolled.render.shapes_plots import draw_shapes

    frame, parameters = found.frame(), found.parameter_frame()

    def write(beside: Path) -> list[Path]:
        record = beside / "shapes.json"
        record.write_text(found.to_json(), encoding="utf-8")
        return [
            frame_to_csv(frame, beside / "shapes.csv"),
            frame_to_csv(parameters, beside / "parameters.csv"),
            record,
            *draw_shapes(frame, parameters, pictures, beside, before=progress.show, after=progress.advance),
        ]

    return replace_together(folder, write)


if __name__ == "__main__":
    sys.exit(main())
