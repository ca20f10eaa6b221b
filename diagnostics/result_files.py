"""Results on disk, whatever command wrote them, read back: what their tables say and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.output.files import read_object


@dataclass(frozen=True)
class Saved:
    """Results that were read: `report` prints their tables, `draw` puts their plots into a folder."""

    machine: str
    report: Callable[[Console], None]
    draw: Callable[[Path], list[Path]]


def saved_results(path: Path, cells: Sequence[str] | None = None) -> list[Saved]:
    """What is in a results file, or in every one of a folder; with `cells`, the benchmark's alone.

    Raises `ResultFileError` where there is nothing, or a file is damaged or of another version, and
    `InvalidValueError` for cells that are not in it.
    """
    files = [path]
    if path.is_dir():
        files = [path / name for name in READERS if (path / name).exists()]
        if not files:
            raise ResultFileError(
                f"results: expected {' or '.join(READERS)} in {path}, got a folder without; "
                "name a results folder"
            )
    if cells:
        if path.is_dir() and path / "bench.json" in files:
            files = [path / "bench.json"]
        return [_bench(file, cells) for file in files]
    return [_reader(file)(file) for file in files]


def _reader(file: Path) -> Callable[[Path], Saved]:
    """By what the file says it is, as it may have been given another name."""
    wanted = read_object(file).get("format")
    by_format = {f"unrolled.{Path(name).stem}": reader for name, reader in READERS.items()}
    if wanted not in by_format:
        raise ResultFileError(
            f"results: expected a file of format {', '.join(by_format)}, got {wanted!r} in {file}; "
            f"name a {' or '.join(READERS)}"
        )
    return by_format[wanted]


def _bench(file: Path, cells: Sequence[str] | None = None) -> Saved:
    from unrolled.render.speed_plots import draw_speed
    from unrolled.render.speed_summary import summary
    from unrolled.render.speed_tables import speed_tables
    from unrolled.speed.run import Run

    loaded = Run.load(file)
    frame = loaded.frame()
    if cells:
        frame = frame[frame["cell"].isin(cells)]
        if frame.empty:
            raise InvalidValueError(f"--cell: expected a cell that was raced, got {', '.join(cells)}")
    machine = loaded.environment.describe()

    def report(screen: Console) -> None:
        for table in speed_tables(frame, screen.width):
            screen.print(table)
            screen.print()
        screen.print(summary(frame))

    return Saved(machine, report, lambda folder: draw_speed(frame, folder, machine))


def _gradflow(file: Path) -> Saved:
    from diagnostics.gradflow import report
    from unrolled.gradients.study import Study
    from unrolled.render.gradflow_plots import draw_gradflow

    study = Study.load(file)
    return Saved(
        study.environment.describe(),
        lambda screen: report(study, screen),
        lambda folder: draw_gradflow(study.flow_frame(), study.lengths_frame(), folder, study.describe()),
    )


def _spectrum(file: Path) -> Saved:
    from diagnostics.spectrum import draw, report
    from unrolled.spectrum.study import SpectrumStudy

    study = SpectrumStudy.load(file)
    return Saved(
        study.environment.describe(),
        lambda screen: report(study, screen),
        lambda folder: draw(study, folder),
    )


# The file that a command leaves, whose format is `unrolled.` and its stem.
READERS: dict[str, Callable[[Path], Saved]] = {
    "bench.json": _bench,
    "gradflow.json": _gradflow,
    "spectrum.json": _spectrum,
}
