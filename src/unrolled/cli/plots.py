"""Draw the tables and plots of a benchmark or of a diagnostics command again, from its files alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from unrolled.cli.command import Command, Parser, hint
from unrolled.cli.options import OPTIONS, path, size
from unrolled.streams import console, list_files

NARROWEST = 60  # columns that a table fits into
EXAMPLES = """examples:
  unrolled plots results/gradflow
  unrolled plots results/bench --cell lstm,gru --no-plots --width 100 --svg tables.svg
  unrolled plots results/bench --as speedup
  unrolled plots results/spectrum/spectrum.partial.json
"""


def add_options(parser: Parser) -> None:
    """Which results, and how."""
    parser.add_argument("results", type=path, nargs="?", default=Path("results/bench"),
                        help="a results folder, or a file in it such as gradflow.json")  # fmt: skip
    parser.add_argument("--out", type=path, help="folder for the plots (default: that of the results)")
    parser.add_argument("--cell", action="append", default=[], metavar="CELL,...",
                        help="of a benchmark, only these cells, by their names")  # fmt: skip
    parser.add_argument("--as", dest="as_", choices=("ratio", "speedup"),
                        help="of a benchmark, how contenders compare: time / time of the reference (the default), or "
                        "the other way round")  # fmt: skip
    parser.add_argument("--no-plots", action="store_true", help="print the tables and draw nothing")
    parser.add_argument("--explain", **OPTIONS["explain"])
    parser.add_argument("--svg", type=path, help="also save the tables, as they look in a terminal, as SVG")
    parser.add_argument("--width", type=size, help="columns of the tables (default: those of the terminal)")


def run(command: Command) -> None:
    """Draw the plots, then print the tables."""
    from unrolled.errors import InvalidValueError
    from unrolled.extras import need
    from unrolled.render.saved import files_in, load, name_of, view_of
    from unrolled.results.folder import ResultFolder, writing
    from unrolled.results.record import write_atomically

    options = command.options
    if options.width is not None and options.width < NARROWEST:
        raise InvalidValueError(f"--width: expected at least {NARROWEST} columns, got {options.width}")
    if options.svg is not None and options.svg.is_dir():
        raise InvalidValueError(f"--svg: expected a file, got the folder {options.svg}; name a file in it")
    if not options.no_plots:
        need("matplotlib", extra="plots", why="plots (--no-plots prints the tables)")
    files = files_in(options.results)
    cells = [name.strip() for names in options.cell for name in names.split(",")]
    if cells or options.as_:  # which are about benchmarks alone
        files = [file for file in files if name_of(file) == "bench"] or files[:1]
        records = [load(file, "unrolled.bench") for file in files]
        records = [record.only(cells) for record in records] if cells else records
    else:
        records = [load(file) for file in files]
    how = {"as_": options.as_} if options.as_ else {}
    paths: list[Path] = []
    for file, record in zip(files, records, strict=True) if not options.no_plots else ():
        with ResultFolder(options.out or file.parent, name_of(file)) as folder:
            paths += folder.add(file, partial(view_of(record).draw, record, **how))
    screens: list[Any] = []

    def show() -> None:
        screen = console(options.width, record=options.svg is not None)
        screens.append(screen)
        for number, record in enumerate(records):
            if number:
                screen.print()
            view_of(record).show(record, screen, explain=options.explain, **how)
        if not options.svg:
            hint(screen, options)
        if paths:
            list_files(screen, paths)

    command.shown(show, paths)
    if options.svg:
        with writing(options.svg.parent):
            options.svg.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(options.svg, screens[0].export_svg(title=records[0].environment.describe()))
