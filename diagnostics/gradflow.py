"""How far back recurrent networks learn: the gradient at every step, over length, clipped and unclipped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diagnostics.command import Parser, console, run
from unrolled.workload import CELLS

if TYPE_CHECKING:
    from unrolled.gradients.given import GivenNetwork
    from unrolled.gradients.reach import Subject
    from unrolled.gradients.study import Study
    from unrolled.workload import Workload

# Large enough to show what theory says about large networks, small enough for a few seconds.
INPUT, HIDDEN, BATCH, LENGTH = 8, 64, 8, 201
# At these sizes a second thread gains nothing, and on a busy machine costs five times the time.
THREADS = 1
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
    parser = Parser(
        prog="python -m diagnostics.gradflow",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one = parser.add_argument_group("one network in place of the eight textbook ones (any of these options)")
    one.add_argument("--cell", choices=CELLS, help="default: lstm with --forget-bias or chrono, else rnn_tanh")
    one.add_argument("--init", help="default, orthogonal, identity, normal:STD or chrono:T")
    one.add_argument("--gain", type=float, help="factor on all recurrent weights, after --init")
    one.add_argument("--forget-bias", type=float, metavar="BIAS", help="of an LSTM, both biases together")
    one.add_argument("--model", metavar="PACKAGE.MODULE:FACTORY", help="returns a model, or (model, input)")
    one.add_argument("--checkpoint", type=Path, metavar="FILE", help="a state dict to fill the network with")
    sizes = parser.add_argument_group("sizes")
    sizes.add_argument("--hidden", type=int, metavar="H", help=f"hidden units; default: {HIDDEN}")
    sizes.add_argument("--layers", type=int, metavar="L", help="layers; default: 1")
    sizes.add_argument("--input", type=int, metavar="I", help=f"input features; default: {INPUT}")
    sizes.add_argument("--bidirectional", action="store_true", help="run every layer both ways")
    sizes.add_argument("--batch", type=int, metavar="B", help=f"samples; default: {BATCH}")
    sizes.add_argument("--length", type=int, metavar="T", help=f"steps of the reach table; default: {LENGTH}")
    sizes.add_argument(
        "--lengths", metavar="T,T,...", help="of the length table; default: 10,20,50,100,200,400"
    )
    how = parser.add_argument_group("how to measure")
    how.add_argument("--loss", choices=("last", "mean"), default="last", help="at the last step, or at all")
    how.add_argument(
        "--clip",
        action="append",
        metavar="MODE",
        help="none, norm:M, value:V, tensor:M, step:M or auto:P; repeatable; default: none and norm:1",
    )
    how.add_argument("--dtype", choices=("float64", "float32", "bfloat16"), help="default: float32")
    how.add_argument("--device", help="cpu, cuda or cuda:N; default: cpu")
    how.add_argument("--seed", type=int, default=0, help="of weights and input; default: 0")
    how.add_argument("--threads", type=int, default=THREADS, help=f"of torch; default: {THREADS}")
    where = parser.add_argument_group("where results go")
    where.add_argument("--out", type=Path, default=Path("results/gradflow"), metavar="FOLDER",
                       help="for plots and data; default: results/gradflow")  # fmt: skip
    where.add_argument("--no-plots", action="store_true", help="tables and data only")
    where.add_argument("--quiet", action="store_true", help="no progress, and no list of the files written")
    return parser


def show(options: argparse.Namespace) -> int:
    """Measure, print both tables and what they amount to, then replace the files in `--out`."""
    import torch

    from unrolled.gradients.study import measure
    from unrolled.gradients.summary import summary
    from unrolled.output.files import writable_folder
    from unrolled.output.gradflow_tables import LENGTH_NOTE, REACH_NOTE, length_table, reach_table
    from unrolled.output.progress import ProgressLine
    from unrolled.workload import check_size

    check_size("--threads", options.threads)
    torch.set_num_threads(options.threads)
    subjects, length_subjects, lengths = _subjects(options)
    clips = _clips(options.clip)
    writable_folder(options.out)
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
            every_profile=len(subjects) == 1,
            progress=progress,
        )
    finally:
        if progress:
            progress.stop()
    screen = console()
    reach, over_length = study.reach_frame(), study.lengths_frame()
    screen.print(reach_table(reach, screen.width))
    screen.print(REACH_NOTE, style="dim")
    screen.print()
    if len(over_length):
        screen.print(length_table(over_length))
        screen.print(LENGTH_NOTE, style="dim")
        screen.print()
    screen.print(summary(reach, over_length))
    paths = _write(study, options.out, not options.no_plots, _foot(options, subjects))
    if not options.quiet:
        screen.print()
        for path in paths:
            screen.print(f"  {path}", style="dim", soft_wrap=True)
    return 0


def _subjects(options: argparse.Namespace) -> tuple[Sequence[Subject], Sequence[Subject], tuple[int, ...]]:
    """The networks of the reach table, those of the length table, and the lengths."""
    from unrolled.gradients.checkpoint import load_checkpoint
    from unrolled.gradients.given import GivenNetwork
    from unrolled.gradients.lengths import check_lengths, lengths_for
    from unrolled.gradients.networks import described, length_networks, networks

    asked = None if options.lengths is None else check_lengths(_numbers(options.lengths))
    workload = _workload(options)
    subject: Subject
    if options.model is not None:
        subject = _given(options, workload)
    elif any(_described(options).values()) or options.checkpoint is not None:
        subject = described(workload, options.cell, options.init, options.gain, options.forget_bias)
        if options.checkpoint is not None:
            module = subject.module()
            load_checkpoint(module, options.checkpoint)
            subject = GivenNetwork(
                name=f"{subject.name}, {options.checkpoint.name}",
                model=module,
                batch_size=workload.batch_size,
                seq_len=workload.seq_len,
                seed=workload.seed,
            )
    else:
        textbook = networks(workload)
        return textbook, length_networks(workload), lengths_for(textbook[0], asked)
    return [subject], [subject], lengths_for(subject, asked)


def _workload(options: argparse.Namespace) -> Workload:
    from unrolled.errors import InvalidValueError
    from unrolled.workload import Workload

    if not 0 <= options.seed < 2**31:
        raise InvalidValueError(f"--seed: expected a number from 0 to 2147483647, got {options.seed}; try 0")
    workload = Workload(
        cell=options.cell or "rnn_tanh",
        input_size=INPUT if options.input is None else options.input,
        hidden_size=HIDDEN if options.hidden is None else options.hidden,
        num_layers=1 if options.layers is None else options.layers,
        batch_size=BATCH if options.batch is None else options.batch,
        seq_len=LENGTH if options.length is None else options.length,
        bidirectional=options.bidirectional,
        dtype=options.dtype or "float32",
        device=options.device or "cpu",
        seed=options.seed,
    )
    if workload.seq_len < 2:
        raise InvalidValueError(
            "--length: expected at least 2 steps, got T = 1, which has nothing to flow back to; try 201"
        )
    workload.check_device()
    return workload


def _described(options: argparse.Namespace) -> dict[str, bool]:
    """The options that describe one network, and whether they were given."""
    return {
        "--cell": options.cell is not None,
        "--init": options.init is not None,
        "--gain": options.gain is not None,
        "--forget-bias": options.forget_bias is not None,
    }


def _given(options: argparse.Namespace, workload: Workload) -> GivenNetwork:
    """What `--model` names, filled from `--checkpoint`, on `--device` and in `--dtype` where given."""
    from unrolled.errors import InvalidValueError
    from unrolled.gradients.checkpoint import load_checkpoint
    from unrolled.gradients.given import GivenNetwork, load_given
    from unrolled.gradients.trajectory import recurrent_modules

    sizes = {"--hidden": options.hidden, "--layers": options.layers, "--input": options.input}
    refused = [name for name, given in _described(options).items() if given]
    refused += [name for name, value in sizes.items() if value is not None]
    refused += ["--bidirectional"] * options.bidirectional
    if refused:
        raise InvalidValueError(
            f"--model: expected a factory that decides about its network alone, got {', '.join(refused)} "
            "beside it; leave that out, or describe a network without --model"
        )
    model, inputs = load_given(options.model, options.seed)
    recurrent_modules(model)
    if inputs is not None and (options.batch is not None or options.length is not None):
        raise InvalidValueError(
            f"--model: expected no --batch or --length, as {options.model} returned an input of its own; "
            "leave them out, or return the model alone"
        )
    if options.checkpoint is not None:
        load_checkpoint(model, options.checkpoint)
    network = GivenNetwork(options.model, model, inputs, workload.batch_size, workload.seq_len, workload.seed)
    return network.to(options.device, options.dtype)


def _numbers(text: str) -> tuple[int, ...]:
    from unrolled.errors import InvalidValueError

    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise InvalidValueError(
            f"--lengths: expected numbers with commas in between, got {text!r}; try 10,20,50"
        ) from None


def _clips(specs: list[str] | None) -> tuple[str, ...]:
    """The ways of clipping, each once, in the order given."""
    from unrolled.gradients.clipping import Clip
    from unrolled.gradients.lengths import DEFAULT_CLIPS

    return tuple(dict.fromkeys(str(Clip.parse(spec)) for spec in specs or DEFAULT_CLIPS))


def _foot(options: argparse.Namespace, subjects: Sequence[Subject]) -> str:
    """What the plots show, in a line."""
    name = f"{subjects[0].name}, " if len(subjects) == 1 else ""
    loss = f"loss at {'the last step' if options.loss == 'last' else 'every step'}"
    return f"{name}{subjects[0].sizes}, {loss}, seed {options.seed}"


def _write(study: Study, folder: Path, plots: bool, foot: str) -> list[Path]:
    """`flow.csv`, `lengths.csv`, `gradflow.json` and the plots: all of them, or nothing is replaced."""
    from unrolled.output.gradflow_files import frame_to_csv, replace_together

    flow, lengths = study.flow_frame(), study.lengths_frame()

    def write(beside: Path) -> list[Path]:
        record = beside / "gradflow.json"
        record.write_text(study.to_json(), encoding="utf-8")
        paths = [
            frame_to_csv(flow, beside / "flow.csv"),
            frame_to_csv(study.lengths_table(), beside / "lengths.csv"),
            record,
        ]
        if plots:
            from unrolled.output.gradflow_plots import draw_gradflow

            paths += draw_gradflow(flow, lengths, beside, f"{foot}\n{study.environment.describe()}")
        return paths

    return replace_together(folder, write)


if __name__ == "__main__":
    sys.exit(main())
