"""Advice that helped: what to change about a network that does not learn, tried beside it from the same seeds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.cli.command import Measure, Parser
from unrolled.cli.options import OUTPUT, add, positive, size

if TYPE_CHECKING:
    from unrolled.advising.case import Case

VIEW = "unrolled.render.advise"
HIDDEN, DELAY = 32, 40
# Options that say which network is trained on a task, and their fields where nothing is said.
NETWORK = ("cell", "init", "gain", "forget_bias", "hidden", "layers")
EXAMPLES = """examples:
  unrolled advise
  unrolled advise --cell lstm --delay 80
  unrolled advise --preset explode
  unrolled advise --model my_package.model:make --data my_package.data:batches
"""


def add_options(parser: Parser) -> None:
    """What is None was not given."""
    task = parser.add_argument_group("what is learned: a task of known delay, or one of these")
    task.add_argument("--task", help="recall, copy, adding or xor; default: recall")
    task.add_argument("--delay", type=size, metavar="D", help=f"of the task; default: {DELAY}")
    task.add_argument("--preset", help="a training of unrolled forecast, unclipped: classic, explode or vanish")
    task.add_argument(
        "--data", metavar="PACKAGE.MODULE:BATCHES", help="of --model: batches(seed) yields (input, loss)"
    )
    add(parser, "the network on a task", "cell", "init", "gain", "forget-bias", "hidden", "layers",
        cell={"help": "one of rnn_tanh, rnn_relu, gru, lstm, or your own package.module:Name; default: rnn_tanh"},
        hidden=HIDDEN, layers=1)  # fmt: skip
    add(parser, "or a model of yours", "model", "checkpoint",
        model={"help": "returns a model"},
        checkpoint={"help": "every training goes on from these weights"})  # fmt: skip
    how = add(parser, "how to train", "batch", "seed", "threads")
    how.add_argument("--seeds", type=size, default=10, metavar="N", help="pairs of each change; default: 10")
    how.add_argument("--iterations", type=size, metavar="N", help="at most; default: 400, of a model 300")
    how.add_argument("--lr", type=positive, help="of Adam; default: 0.003, of a model 0.001")
    how.add_argument("--clip", metavar="MODE", help="that it has already; default: norm:1 on a task, else none")
    add(parser, "where results go", *OUTPUT, out=Path("results/advise"))


def plan(options: argparse.Namespace) -> Measure:
    """What is trained; everything that can be wrong with it is found here."""
    from unrolled.advising.study import measure

    case, asked = _case(options)
    asked |= {"--seeds": str(options.seeds), "--seed": str(options.seed), "--threads": str(options.threads)}
    return lambda keep, progress: measure(case, asked, options.seeds, options.seed, progress, keep)


def _case(options: argparse.Namespace) -> tuple[Case, dict[str, str]]:
    if options.preset is not None:
        return _preset(options)
    if options.model is not None or options.data is not None:
        return _model(options)
    return _task(options)


def _refuse(options: argparse.Namespace, kind: str, *names: str) -> None:
    from unrolled.errors import InvalidValueError

    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]
    if given:
        raise InvalidValueError(
            f"{kind}: expected no {', '.join(given)} beside it, which it decides itself; leave it out"
        )


def _preset(options: argparse.Namespace) -> tuple[Case, dict[str, str]]:
    from unrolled.advising.on_forecast import OnForecast
    from unrolled.errors import InvalidValueError
    from unrolled.forecast.presets import PRESETS

    _refuse(options, "--preset", *NETWORK, "task", "delay", "model", "data", "checkpoint", "clip", "batch")
    if options.preset not in PRESETS:
        raise InvalidValueError(
            f"--preset: expected one of {', '.join(PRESETS)}, got {options.preset!r}; try explode"
        )
    setting = PRESETS[options.preset]()[0].replace(clip="none", seed=options.seed)
    changed: dict[str, Any] = {
        name: getattr(options, name) for name in ("iterations", "lr") if getattr(options, name) is not None
    }
    asked = {"--preset": options.preset} | {f"--{name}": repr(value) for name, value in changed.items()}
    return OnForecast(setting.replace(**changed)), asked


def _model(options: argparse.Namespace) -> tuple[Case, dict[str, str]]:
    from unrolled.advising.on_model import OnModel
    from unrolled.errors import InvalidValueError

    _refuse(options, "--model", *NETWORK, "task", "delay", "batch")
    if options.model is None or options.data is None:
        lacking = "--model" if options.model is None else "--data"
        raise InvalidValueError(
            f"{lacking}: expected a model and its data, got only one of them; name {lacking} package.module:function"
        )
    said: dict[str, Any] = {"checkpoint": options.checkpoint, "iterations": options.iterations, "lr": options.lr,
                            "clip": options.clip}  # fmt: skip
    given = {name: value for name, value in said.items() if value is not None}
    case = OnModel(options.model, options.data, seed=options.seed, **given)
    case.look()
    asked = {"--model": options.model, "--data": options.data}
    return case, asked | {f"--{name}": str(value) for name, value in given.items()}


def _task(options: argparse.Namespace) -> tuple[Case, dict[str, str]]:
    from unrolled.advising.on_task import OnTask
    from unrolled.errors import InvalidValueError
    from unrolled.learning.settings import Settings
    from unrolled.networks.textbook import described
    from unrolled.networks.workload import Workload

    _refuse(options, "--task", "checkpoint")
    cells: list[str | None] = list(options.cell or (None,))
    if len(cells) > 1:
        raise InvalidValueError(
            f"--cell: expected one cell, got {', '.join(map(str, cells))}; ask for one after the other"
        )
    settings = Settings(
        task=options.task or "recall", delays=(options.delay or DELAY,), seeds=options.seeds,
        batch_size=options.batch or 16, iterations=options.iterations or 400, lr=options.lr or 0.003,
        clip="norm:1" if options.clip is None else options.clip,
    )  # fmt: skip
    workload = Workload(
        cell="rnn_tanh", input_size=settings.of.inputs, hidden_size=options.hidden or HIDDEN,
        num_layers=options.layers or 1, batch_size=settings.batch_size,
        seq_len=settings.of.steps(settings.reach_delay), seed=options.seed,
    )  # fmt: skip
    workload.check_memory()
    network = described(workload, cells[0], options.init, options.gain, options.forget_bias)
    asked = {
        "--task": settings.task, "--delay": str(settings.delays[0]), "--cell": network.workload.cell,
        "--hidden": str(workload.hidden_size), "--layers": str(workload.num_layers),
        "--batch": str(settings.batch_size), "--iterations": str(settings.iterations), "--lr": repr(settings.lr),
        "--clip": settings.clip,
    }  # fmt: skip
    start = {"--init": options.init, "--gain": options.gain, "--forget-bias": options.forget_bias}
    return OnTask(network, settings), asked | {name: str(v) for name, v in start.items() if v is not None}
