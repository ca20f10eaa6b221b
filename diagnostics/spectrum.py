"""How many directions recurrent networks keep, and whether they are chaotic: exponents and singular values."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diagnostics.command import console, list_files, run
from diagnostics.network_options import chosen_network, chosen_workload
from diagnostics.options import (
    Defaults,
    add_machine,
    add_network,
    add_output,
    add_sizes,
    integers,
    numbers,
    parser,
)

if TYPE_CHECKING:
    from rich.console import Console

    from diagnostics.command import Parser
    from unrolled.networks.subject import Subject
    from unrolled.networks.textbook import Network
    from unrolled.spectrum.result import Settings
    from unrolled.spectrum.study import SpectrumStudy

# The networks of gradflow; fewer samples over more steps, as exponents are means over time.
DEFAULTS = Defaults(input=8, hidden=64, batch=4, length=501, out=Path("results/spectrum"))
GAIN_HIDDEN = 200  # units of the networks over gain: theory is about large ones
EXAMPLES = """examples:
  python -m diagnostics.spectrum
  python -m diagnostics.spectrum --cell lstm --layers 2 --forget-bias 2 --drive noise
  python -m diagnostics.spectrum --cell rnn_tanh --init orthogonal --gain 1.5 --gains 0.5,1,1.5,2
  python -m diagnostics.spectrum --model my_package.model:make --checkpoint best.pt --k 20
"""


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m diagnostics.spectrum`; gives the exit status."""
    return run(show, make_parser(), argv)


def make_parser() -> Parser:
    """All options. What is None was not given."""
    made = parser("spectrum", __doc__, EXAMPLES)
    add_network(made, "the eight textbook ones")
    sizes = add_sizes(made, DEFAULTS, "steps, those of the warm-up included")
    sizes.add_argument(
        "--gains",
        metavar="G,G,...",
        help="largest exponent over these gains, or none; default: 9 from 0.5 to 2.5 for random networks of "
        f"{GAIN_HIDDEN} units beside the textbook, none beside one network",
    )
    how = made.add_argument_group("how to measure")
    how.add_argument(
        "--drive", choices=("noise", "zero"), help="the input: normal noise or none; default: both"
    )
    how.add_argument("--k", type=int, help="how many exponents, from the largest down; default: all")
    how.add_argument("--lags", metavar="K,K,...", help="of the singular values; default: 1,2,5,10,...,200")
    how.add_argument("--warm-up", type=int, metavar="STEPS", help="left out of the exponents; default: a fifth")
    how.add_argument("--qr-every", metavar="STEPS", default="auto", help="steps between QRs; default: auto")
    add_machine(how)
    add_output(made, DEFAULTS)
    return made


def show(options: argparse.Namespace) -> int:
    """Measure, print the tables and what they amount to, then replace the files in `--out`."""
    import torch

    from unrolled.checks import check_size
    from unrolled.output.files import check_folder
    from unrolled.progress import ProgressLine
    from unrolled.spectrum.study import measure_study

    check_size("--threads", options.threads)
    torch.set_num_threads(options.threads)
    settings = _settings(options)
    subjects, swept, gains = _subjects(options)
    check_folder(options.out)
    torch.manual_seed(options.seed)  # for a given model that draws numbers in its forward
    progress = None if options.quiet else ProgressLine(sys.stderr)
    try:
        study = measure_study(
            subjects,
            drives=None if options.drive is None else (options.drive,),
            settings=settings,
            swept=swept,
            gains=gains,
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


def report(study: SpectrumStudy, screen: Console) -> None:
    """Print the tables and what they amount to."""
    from unrolled.render.spectrum_summary import spectrum_summary
    from unrolled.render.spectrum_tables import (
        CARRYING_NOTE,
        GAIN_NOTE,
        SPECTRUM_NOTE,
        carrying_table,
        gain_table,
        spectrum_table,
    )

    table, carrying, gains = study.table_frame(), study.carrying_frame(), study.gain_mean_frame()
    screen.print(spectrum_table(table, screen.width, study.units))
    screen.print(SPECTRUM_NOTE, style="dim")
    screen.print()
    if len(carrying):
        screen.print(carrying_table(carrying, screen.width, study.units))
        screen.print(CARRYING_NOTE, style="dim")
        screen.print()
    if len(gains):
        screen.print(gain_table(gains))
        screen.print(GAIN_NOTE, style="dim")
        screen.print()
    screen.print(spectrum_summary(table, carrying, study.transition_frame(), study.notes()))


def draw(study: SpectrumStudy, folder: Path) -> list[Path]:
    """All plots into a folder."""
    from unrolled.render.spectrum_plots import draw_spectrum

    return draw_spectrum(
        study.mean_spectrum_frame(),
        study.fan_frame(),
        study.gain_mean_frame(),
        study.line_frame(),
        study.transition_frame(),
        folder,
        study.describe(),
        study.describe_gains() if study.curves else "",
    )


def _settings(options: argparse.Namespace) -> Settings:
    """`--k`, `--lags`, `--warm-up` and `--qr-every`; whether they fit a network is found when it is run."""
    from unrolled.errors import InvalidValueError
    from unrolled.spectrum.result import Settings

    qr_every = options.qr_every
    if qr_every != "auto":
        (qr_every,) = integers("--qr-every", qr_every)[:1]
    if options.warm_up is not None and options.warm_up < 0:
        raise InvalidValueError(f"--warm-up: expected at least 0 steps, got {options.warm_up}; try 100")
    lags = None if options.lags is None else integers("--lags", options.lags)
    return Settings(options.k, options.warm_up, qr_every, lags)


def _subjects(options: argparse.Namespace) -> tuple[Sequence[Subject], Network | None, tuple[float, ...]]:
    """The networks of the table, the one that is run over gains, and the gains."""
    from unrolled.errors import InvalidValueError
    from unrolled.networks.textbook import Network, networks
    from unrolled.spectrum.gain_curve import DEFAULT_GAINS, check_gains, gaussian

    asked = options.gains not in (None, "none")
    gains = check_gains(numbers("--gains", options.gains)) if asked else DEFAULT_GAINS
    workload = chosen_workload(options, DEFAULTS)
    one = chosen_network(options, workload)
    if one is None:
        large = workload.replace(hidden_size=GAIN_HIDDEN if options.hidden is None else options.hidden)
        plain = large.replace(num_layers=1, bidirectional=False)
        return networks(workload), None if options.gains == "none" else gaussian(plain), gains
    if asked and not (isinstance(one, Network) and not one.workload.is_own):
        raise InvalidValueError(
            f"--gains: expected a network that --cell and the like describe, got {one.name}, which starts as it "
            "does itself; leave it out"
        )
    return [one], one if asked and isinstance(one, Network) else None, gains


def _write(study: SpectrumStudy, folder: Path, plots: bool) -> list[Path]:
    """Three CSV files, `spectrum.json` and the plots: all of them, or nothing is replaced."""
    from unrolled.output.gradflow_files import frame_to_csv, replace_together

    frames = {
        "spectrum.csv": study.spectrum_frame(),
        "singular_values.csv": study.singular_frame(),
        "gain.csv": study.gain_frame(),
    }

    def write(beside: Path) -> list[Path]:
        record = beside / "spectrum.json"
        study.save(record)
        paths = [frame_to_csv(frame, beside / name) for name, frame in frames.items() if len(frame)]
        return [*paths, record, *(draw(study, beside) if plots else [])]

    return replace_together(folder, write)


if __name__ == "__main__":
    sys.exit(main())
