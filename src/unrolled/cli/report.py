"""All results in some folders as one HTML page: answers, figures, tables to sort, and how to measure them again."""

from __future__ import annotations

from pathlib import Path

from unrolled.cli.command import Command, Parser
from unrolled.cli.options import path
from unrolled.streams import console, list_files

PREVIOUS = "previous"  # the folder in a folder of results that keeps those of the run before
EXAMPLES = """examples:
  unrolled report results/gradflow
  unrolled report results --out summary.html
  unrolled report results/bench results/spectrum/spectrum.partial.json --no-plots
"""


def add_options(parser: Parser) -> None:
    """Which results, and where the page goes."""
    parser.add_argument("results", type=path, nargs="+", metavar="FOLDER",
                        help="a results folder, a folder of such folders, or a file such as gradflow.json")  # fmt: skip
    parser.add_argument(
        "--out", type=path, metavar="FILE", help="the page; default: report.html in the first folder"
    )
    parser.add_argument("--no-plots", action="store_true", help="tables without figures")


def run(command: Command) -> None:
    """Write the page, then say what each of the results answers."""
    from unrolled.errors import InvalidValueError
    from unrolled.render.report import Measured, check_packages, write_report
    from unrolled.render.saved import load
    from unrolled.results.folder import writing
    from unrolled.results.record import read_object

    options = command.options
    check_packages(not options.no_plots)
    first = options.results[0]
    out: Path = options.out or (first if first.is_dir() else first.parent) / "report.html"
    if out.is_dir():
        raise InvalidValueError(f"--out: expected a file, got the folder {out}; name a file in it")
    files = _files(options.results)
    measured = [
        Measured(load(file), source=str(file), is_part=bool(read_object(file).get("partial"))) for file in files
    ]
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        problems = write_report(out, measured, figures=not options.no_plots, command=command.line)
    for problem in problems:
        command.fail(problem)
    command.shown(lambda: list_files(console(), [out]), [out])


def _files(named: list[Path]) -> list[Path]:
    """The records in what is named, each once, in that order."""
    found: dict[Path, Path] = {}
    for place in named:
        for file in _in(place):
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _in(place: Path) -> list[Path]:
    """The records of a folder; where it has none, those of the folders in it."""
    from unrolled.render.saved import files_in

    if place.is_dir() and not _has_records(place):
        inside = [folder for folder in sorted(place.iterdir()) if _has_records(folder)]
        if inside:
            return [file for folder in inside for file in files_in(folder)]
    return files_in(place)


def _has_records(folder: Path) -> bool:
    from unrolled.render.saved import RECORDS

    if folder.name == PREVIOUS or folder.name.startswith("."):
        return False
    return any((folder / f"{name}{end}").exists() for name in RECORDS for end in (".json", ".partial.json"))
