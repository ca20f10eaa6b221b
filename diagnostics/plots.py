"""Draw the tables and plots of a benchmark run again, from its files alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from diagnostics.command import Parser, console, run
from unrolled.workload import CELLS


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m diagnostics.plots RESULTS`; gives the exit status."""
    parser = Parser(prog="python -m diagnostics.plots", description=__doc__)
    parser.add_argument(
        "results",
        type=Path,
        nargs="?",
        default=Path("results/bench"),
        help="a results folder, or a bench.json",
    )
    parser.add_argument("--out", type=Path, help="folder for the plots (default: that of the results)")
    parser.add_argument("--cell", action="append", choices=CELLS, help="only this cell; repeatable")
    parser.add_argument("--no-plots", action="store_true", help="print the tables and draw nothing")
    parser.add_argument("--svg", type=Path, help="also save the tables, as they look in a terminal, as SVG")
    parser.add_argument("--width", type=int, help="columns of the tables (default: those of the terminal)")
    return run(draw, parser, argv)


def draw(options: argparse.Namespace) -> int:
    """Print the tables, then draw the plots."""
    from rich.console import Console

    from unrolled.errors import InvalidValueError
    from unrolled.output.files import writable_folder, write_atomically
    from unrolled.output.speed_plots import draw_speed
    from unrolled.output.speed_tables import speed_tables
    from unrolled.speed.run import load_run
    from unrolled.speed.summary import summary

    if options.width is not None and options.width < 60:
        raise InvalidValueError(f"--width: expected at least 60 columns, got {options.width}")
    loaded = load_run(options.results)
    frame = loaded.frame()
    if options.cell:
        frame = frame[frame["cell"].isin(options.cell)]
    if frame.empty:
        raise InvalidValueError(f"--cell: expected a cell that was raced, got {', '.join(options.cell)}")
    folder = options.out or (options.results if options.results.is_dir() else options.results.parent)
    if not options.no_plots:
        writable_folder(folder)
    if options.svg:
        writable_folder(options.svg.parent)
    screen = console()
    if options.width or options.svg:
        screen = Console(width=options.width or screen.width, highlight=False, record=options.svg is not None)
    for table in speed_tables(frame, screen.width):
        screen.print(table)
        screen.print()
    screen.print(summary(frame))
    if options.svg:
        write_atomically(options.svg, screen.export_svg(title=loaded.environment.describe()))
    if not options.no_plots:
        for path in draw_speed(frame, folder, loaded.environment.describe()):
            screen.print(f"  {path}", style="dim")
    return 0


if __name__ == "__main__":
    sys.exit(main())
