"""Train a small forecaster with and without clipping: loss, gradient norms, closed loop and reach."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.cli.command import Measure, Parser
from unrolled.cli.options import OUTPUT, add, size
from unrolled.errors import InvalidValueError
from unrolled.forecast.presets import PRESETS, variants
from unrolled.forecast.setting import OPTIMIZERS, Setting

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.forecast.study import Study

VIEW = "unrolled.render.forecast"
EXAMPLES = """examples:
  unrolled forecast
  unrolled forecast --cell lstm --clip none --clip norm:0.1 --clip auto:10
  unrolled forecast --preset explode --seeds 10
  unrolled forecast --signal csv:sales.csv:units --length 60 --checkpoint sales.pt
  unrolled forecast --suggest --iterations 200
  unrolled forecast --preset chaos
"""
# Options that change a field of `Setting` of another name.
FIELDS = {"hidden": "hidden_size", "layers": "num_layers", "batch": "batch_size"}
SAME = ("signal", "init", "gain", "forget_bias", "init_std", "length", "iterations", "optimizer", "lr", "warm_up",
        "seed", "device")  # fmt: skip


def add_options(parser: Parser) -> None:
    """What is None was not given, and stays as the preset has it."""
    parser.add_argument("--preset", choices=PRESETS, default="classic",
                        help="what to begin with; every option below changes it; default: classic")  # fmt: skip
    what = add(parser, "what to learn", "length", length={"help": "points of a window, steps of a recall"})
    what.add_argument("--signal", metavar="SIGNAL",
                      help="sine, sum, chirp, henon, lorenz, csv:FILE:COLUMN, or recall:S of S symbols")  # fmt: skip
    what.add_argument("--warm-up", type=size, metavar="N", help="true points fed before the loop closes")
    network = add(parser, "the network", "cell", "hidden", "layers", "init", "gain", "forget-bias")
    network.add_argument("--init-std", type=float, metavar="STD",
                         help="in place of --init: every recurrent weight and bias from N(0, STD²)")  # fmt: skip
    how = add(parser, "how to train", "clip", "batch", "seed", "threads", "device", "checkpoint",
              seed={"default": None},
              checkpoint={"help": "save training there every two seconds, and go on from what it holds"})  # fmt: skip
    how.add_argument("--optimizer", choices=OPTIMIZERS)
    how.add_argument("--lr", type=float, help="learning rate")
    how.add_argument("--iterations", type=size, metavar="N", help="steps of the optimizer")
    how.add_argument("--seeds", type=size, default=1, metavar="N", help="so many, from --seed on; default: 1")
    how.add_argument(
        "--suggest", action="store_true", help="also say where one could clip, and what that would do"
    )
    how.add_argument("--exponents", type=count, metavar="K",
                     help="Lyapunov exponents of each closed loop; default: 3 of henon and lorenz, else 0")  # fmt: skip
    add(parser, "where results go", *OUTPUT, out=Path("results/forecast"))


def count(text: str) -> int:
    """`3`, or `0` for none."""
    if text == "0":
        return 0
    try:
        return size(text)
    except InvalidValueError:
        raise InvalidValueError(f"expected an integer of at least 0, got {text!r}; 0 measures none") from None


def plan(options: argparse.Namespace) -> Measure:
    """What to train, in order; everything that can be wrong with it is found here."""
    from unrolled.forecast.checkpoint import Checkpoint
    from unrolled.forecast.model import network_of
    from unrolled.forecast.study import exponents_of, measure
    from unrolled.forecast.training import make_task

    settings = _settings(options)
    for setting in dict.fromkeys(setting.replace(seed=0, clip="none") for setting in settings):
        network_of(setting, 1).workload.check_device()
        exponents_of(setting, options.exponents)
        make_task(setting)
    checkpoint = None if options.checkpoint is None else Checkpoint(options.checkpoint, settings)
    options.held = checkpoint
    return lambda keep, progress: measure(
        settings, exponents=options.exponents, checkpoint=checkpoint, keep=keep, progress=progress
    )


def _settings(options: argparse.Namespace) -> list[Setting]:
    from unrolled.gradients.clipping import Clip

    given = {FIELDS.get(name, name): getattr(options, name) for name in (*FIELDS, *SAME)}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    if {"init", "gain", "forget_bias"} & set(changes):
        changes.setdefault("init_std", None)
    elif "init_std" in changes:
        changes |= {"init": "default", "gain": 1.0, "forget_bias": None}
    clips = None if options.clip is None else [str(Clip.parse(clip)) for clip in options.clip]
    cells = [{"cell": cell} for cell in options.cell or ()] or [{}]
    return [s for cell in cells for s in variants(options.preset, changes | cell, clips, options.seeds)]


def resume(options: argparse.Namespace) -> str:
    """What an interrupted training is told."""
    if options.checkpoint:
        return f"; the same command goes on from {options.checkpoint}"
    return "; with --checkpoint FILE the same command would go on"


def show(study: Study, screen: Console, options: argparse.Namespace) -> None:
    """The tables and what they amount to."""
    from unrolled.render import forecast

    forecast.show(study, screen, options.suggest, options.explain)
