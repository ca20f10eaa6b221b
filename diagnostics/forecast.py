"""Train a small forecaster with and without clipping: loss, gradient norms, closed loop and reach."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnostics.command import Parser, console, list_files, run
from unrolled.cells import CELLS
from unrolled.forecast.presets import PRESETS, variants
from unrolled.forecast.setting import OPTIMIZERS, Setting

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.forecast.study import Study

THREADS = 1  # at these sizes a second thread gains nothing
EXAMPLES = """examples:
  python -m diagnostics.forecast
  python -m diagnostics.forecast --cell lstm --clip none --clip norm:0.1 --clip auto:10
  python -m diagnostics.forecast --preset explode --seeds 10
  python -m diagnostics.forecast --signal csv:sales.csv:units --length 60 --checkpoint sales.pt
  python -m diagnostics.forecast --suggest --iterations 200
"""
# Options that change a field of `Setting`, and what argparse calls them where the names differ.
FIELDS = {
    "signal": "signal",
    "cell": "cell",
    "hidden": "hidden_size",
    "layers": "num_layers",
    "init": "init",
    "gain": "gain",
    "forget_bias": "forget_bias",
    "init_std": "init_std",
    "length": "length",
    "batch": "batch_size",
    "iterations": "iterations",
    "optimizer": "optimizer",
    "lr": "lr",
    "warm_up": "warm_up",
    "seed": "seed",
    "device": "device",
}


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m diagnostics.forecast`; gives the exit status."""
    return run(show, make_parser(), argv)


def make_parser() -> Parser:
    """All options. What is None was not given, and stays as the preset has it."""
    parser = Parser(
        prog="python -m diagnostics.forecast",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", choices=PRESETS, default="classic",
                        help="what to begin with; every option below changes it; default: classic")  # fmt: skip
    what = parser.add_argument_group("what to learn")
    what.add_argument("--signal", metavar="SIGNAL",
                      help="sine, sum, chirp, csv:FILE:COLUMN, or recall:S for one of S symbols")  # fmt: skip
    what.add_argument("--length", type=int, metavar="T", help="points of a window, steps of a recall")
    what.add_argument("--warm-up", type=int, metavar="N", help="true points fed before the loop closes")
    network = parser.add_argument_group("the network")
    network.add_argument("--cell", choices=CELLS)
    network.add_argument("--hidden", type=int, metavar="H", help="hidden units")
    network.add_argument("--layers", type=int, metavar="L", help="recurrent layers")
    network.add_argument("--init-std", type=float, metavar="STD",
                         help="every recurrent weight and bias from N(0, STD²)")  # fmt: skip
    network.add_argument("--init", help="in its place: default, orthogonal, identity, normal:STD or chrono:T")
    network.add_argument("--gain", type=float, help="factor on all recurrent weights, after --init")
    network.add_argument("--forget-bias", type=float, metavar="BIAS", help="of an LSTM, both biases together")
    how = parser.add_argument_group("how to train")
    how.add_argument("--clip", action="append", metavar="MODE",
                     help="none, norm:M, value:V, tensor:M, step:M (slow) or auto:P; one run each")  # fmt: skip
    how.add_argument("--optimizer", choices=OPTIMIZERS)
    how.add_argument("--lr", type=float, help="learning rate")
    how.add_argument("--iterations", type=int, metavar="N", help="steps of the optimizer")
    how.add_argument("--batch", type=int, metavar="B", help="sequences in each")
    how.add_argument("--seed", type=int, help="of weights and data order")
    how.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="so many seeds, from --seed on; default: 1"
    )
    how.add_argument("--device", help="cpu, cuda or cuda:N")
    how.add_argument("--threads", type=int, default=THREADS, help=f"of torch; default: {THREADS}")
    how.add_argument(
        "--suggest", action="store_true", help="also say where one could clip, and what that would do"
    )
    where = parser.add_argument_group("where results go")
    where.add_argument("--checkpoint", type=Path, metavar="FILE",
                       help="save training there every two seconds, and go on from what it holds")  # fmt: skip
    where.add_argument("--out", type=Path, default=Path("results/forecast"), metavar="FOLDER",
                       help="for plots and data; default: results/forecast")  # fmt: skip
    where.add_argument("--no-plots", action="store_true", help="tables and data only")
    where.add_argument("--quiet", action="store_true", help="no progress, and no list of the files written")
    return parser


def show(options: argparse.Namespace) -> int:
    """Train, print the tables and what they amount to, then replace the files in `--out`."""
    import torch

    from unrolled.checks import check_size
    from unrolled.forecast.checkpoint import Checkpoint
    from unrolled.forecast.study import measure
    from unrolled.output.files import check_folder
    from unrolled.progress import ProgressLine

    check_size("--threads", options.threads)
    check_size("--seeds", options.seeds)
    torch.set_num_threads(options.threads)
    settings = _settings(options)
    checkpoint = None if options.checkpoint is None else Checkpoint(options.checkpoint, settings)
    check_folder(options.out)
    progress = None if options.quiet else ProgressLine(sys.stderr)
    try:
        study = measure(settings, checkpoint=checkpoint, progress=progress)
    except KeyboardInterrupt:
        kept = (
            f"the same command goes on from {options.checkpoint}"
            if checkpoint
            else "--checkpoint FILE keeps it"
        )
        sys.stderr.write(f"python -m diagnostics.forecast: interrupted, no results written; {kept}\n")
        return 1
    finally:
        if progress:
            progress.stop()
    screen = console()
    _print(study, screen, options.suggest)
    paths = _write(study, options.out, not options.no_plots)
    if not options.quiet:
        list_files(screen, paths)
    return 0


def _settings(options: argparse.Namespace) -> list[Setting]:
    """What to train, in order; everything that can be wrong with it is found here."""
    from unrolled.forecast.model import network_of
    from unrolled.forecast.training import make_task
    from unrolled.gradients.clipping import Clip

    changes: dict[str, Any] = {
        field: getattr(options, name) for name, field in FIELDS.items() if getattr(options, name) is not None
    }
    if {"init", "gain", "forget_bias"} & set(changes):
        changes.setdefault("init_std", None)
    elif "init_std" in changes:
        changes |= {"init": "default", "gain": 1.0, "forget_bias": None}
    clips = None if options.clip is None else [str(Clip.parse(clip)) for clip in options.clip]
    settings = variants(options.preset, changes, clips, options.seeds)
    for setting in dict.fromkeys(setting.replace(seed=0, clip="none") for setting in settings):
        network = network_of(setting, 1)
        network.workload.check_device()
        make_task(setting)
    return settings


def _print(study: Study, screen: Console, suggest: bool) -> None:
    from unrolled.forecast.outcome import DEFINITIONS
    from unrolled.forecast.suggestion import FIRST, suggestions
    from unrolled.render.forecast_summary import summary
    from unrolled.render.forecast_tables import (
        LOOP_NOTE,
        SUGGESTION_NOTE,
        gradient_table,
        suggestion_table,
        training_table,
    )

    table = study.table_frame()
    screen.print(training_table(table, screen.width))
    screen.print(DEFINITIONS, style="dim")
    if table["rmse"].notna().any():
        screen.print(LOOP_NOTE.format(warm_up=study.runs[0].setting.warm_up), style="dim")
    screen.print()
    screen.print(gradient_table(table, screen.width))
    screen.print()
    if suggest:
        screen.print(suggestion_table(suggestions(study.history_frame()), FIRST))
        screen.print(SUGGESTION_NOTE, style="dim")
        screen.print()
    screen.print(summary(table, study.runs_frame(), study.reach_frame()))


def _write(study: Study, folder: Path, plots: bool) -> list[Path]:
    """`runs.csv`, `history.csv`, `closed_loop.csv`, `reach.csv`, `forecast.json` and the plots, or nothing."""
    from unrolled.output.gradflow_files import frame_to_csv, replace_together

    frames = {
        "runs": study.runs_frame(),
        "history": study.history_frame(),
        "closed_loop": study.loop_frame(),
        "reach": study.reach_frame(),
    }

    def write(beside: Path) -> list[Path]:
        """All files into `beside`; gives their paths."""
        record = beside / "forecast.json"
        record.write_text(study.to_json(), encoding="utf-8")
        paths = [frame_to_csv(frame, beside / f"{name}.csv") for name, frame in frames.items() if len(frame)]
        paths.append(record)
        if plots:
            from unrolled.render.forecast_plots import draw_forecast

            foot = f"{study.runs[0].setting.describe()}\n{study.environment.describe()}"
            paths += draw_forecast(frames["history"], frames["closed_loop"], frames["reach"], beside, foot)
        return paths

    return replace_together(folder, write)


if __name__ == "__main__":
    sys.exit(main())
