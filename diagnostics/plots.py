"""Draw the tables and plots of a benchmark or of a diagnostics command again, from its files alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from diagnostics.command import Parser, console, list_files, run


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m diagnostics.plots RESULTS`; gives the exit status."""
    parser = Parser(prog="python -m diagnostics.plots", description=__doc__)
    parser.add_argument(
        "results",
        type=Path,
        nargs="?",
        default=Path("results/bench"),
        help="a results folder, or a bench.json, gradflow.json or spectrum.json",
    )
    parser.add_argument("--out", type=Path, help="folder for the plots (default: that of the results)")
    parser.add_argument(
        "--cell",
        action="append",
        metavar="CELL",
        help="of a benchmark, only this cell, by its name; repeatable",
    )
    parser.add_argument("--no-plots", action="store_true", help="print the tables and draw nothing")
    parser.add_argument("--svg", type=Path, help="also save the tables, as they look in a terminal, as SVG")
    parser.add_argument("--width", type=int, help="columns of the tables (default: those of the terminal)")
    return run(draw, parser, argv)


def draw(options: argparse.Namespace) -> int:
    """Print the tables, then draw the plots."""
    from rich.console import Console

    from diagnostics.result_files import saved_results
    from unrolled.errors import InvalidValueError
    from unrolled.output.files import check_folder, writable_folder, write_atomically
    from unrolled.output.gradflow_files import replace_together

    if options.width is not None and options.width < 60:
        raise InvalidValueError(f"--width: expected at least 60 columns, got {options.width}")
    found = saved_results(options.results, options.cell)
    folder = options.out or (options.results if options.results.is_dir() else options.results.parent)
    if not options.no_plots:
        check_folder(folder)
    if options.svg:
        writable_folder(options.svg.parent)
    screen = console()
    if options.width or options.svg:
        screen = Console(width=options.width or screen.width, highlight=False, record=options.svg is not None)
    for number, saved in enumerate(found):
        if number:
            screen.print()
        saved.report(screen)
    if options.svg:
        write_atomically(options.svg, screen.export_svg(title=found[0].machine))
    if not options.no_plots:
        drawn = replace_together(
            folder, lambda beside: [path for saved in found for path in saved.draw(beside)]
        )
        list_files(screen, drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
