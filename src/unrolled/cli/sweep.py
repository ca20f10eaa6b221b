"""One measurement over a grid of settings and seeds, on all cores: a store to go on from, and a phase diagram."""

from __future__ import annotations

import argparse
from pathlib import Path

from unrolled.cli.command import Measure, Parser
from unrolled.cli.options import OUTPUT, add, path, size
from unrolled.sweep.axis import shown
from unrolled.sweep.jobs import JOBS, check_job, job_named

VIEW = "unrolled.render.sweep"
SEEDS = 10
WIDTH = 112  # letters of a line of help


def _settings() -> str:
    """The settings of each job with their defaults, and the columns of its rows."""
    lines = []
    for name in JOBS:
        job = job_named(name)
        settings = " ".join(f"{each.name}={shown(each.default)}" for each in job.parameters)
        columns = " ".join(column.name for column in job.columns)
        lines += ["", f"{name} takes:", *_folded(settings), "and gives:", *_folded(columns)]
    return "\n".join(lines[1:])


def _folded(words: str) -> list[str]:
    import textwrap

    return textwrap.wrap(words, WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False)


EXAMPLES = f"""examples:
  unrolled sweep spectrum --over gain=0.5:2:16 --over noise=0,0.1,0.3
  unrolled sweep spectrum --over hidden=16,32,64,128 --set gain=1.5 --seeds 20
  unrolled sweep gradflow --over cell=gru,lstm --over gain=0.5:4:15 --workers 2
  unrolled sweep spectrum --over gain=0.5:2:16 --over noise=0,0.1,0.3 --merge other.sqlite

{_settings()}
"""


def add_options(parser: Parser) -> None:
    """The job, its grid, and who computes."""
    parser.add_argument("job", type=job, metavar="JOB",
                        help=f"what to measure: {', '.join(JOBS)}, or package.module:NAME of your own")  # fmt: skip
    what = parser.add_argument_group("the grid")
    what.add_argument("--over", action="append", default=[], metavar="NAME=START:STOP:COUNT|A,B,...",
                      help="an axis: a setting, and its values; repeatable")  # fmt: skip
    what.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
                      help="a setting that is the same everywhere; repeatable")  # fmt: skip
    what.add_argument("--seeds", type=size, default=SEEDS, metavar="N",
                      help=f"so many of each point, from --seed on; default: {SEEDS}")  # fmt: skip
    add(parser, "how to measure", "seed")
    who = parser.add_argument_group("who computes")
    who.add_argument("--workers", type=size, metavar="N",
                     help="processes of one thread each; default: one for each core")  # fmt: skip
    who.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a dask cluster of yours, such as tcp://host:8786"
    )
    results = add(parser, "where results go", *OUTPUT, out=Path("results/sweep"))
    results.add_argument("--store", type=path, metavar="FILE",
                         help="SQLite, keeps every row as it arrives and goes on from there; default: JOB.sqlite in "
                         "--out")  # fmt: skip
    results.add_argument("--merge", type=path, action="append", default=[], metavar="FILE",
                         help="take over the rows of another store; repeatable")  # fmt: skip
    parser.set_defaults(threads=1)


def job(text: str) -> str:
    """A name, or a path."""
    from unrolled.errors import InvalidValueError

    try:
        check_job(text)
    except InvalidValueError as error:  # the parser says of which option it is
        raise InvalidValueError(str(error).removeprefix("job: ")) from None
    return text


def plan(options: argparse.Namespace) -> Measure:
    """The grid, every point of which is checked here."""
    from unrolled.errors import InvalidValueError
    from unrolled.extras import need
    from unrolled.sweep.grid import grid_of
    from unrolled.sweep.measure import Workshop, run

    made = job_named(options.job)
    if not options.over:
        raise InvalidValueError("--over: expected at least one axis, got none; try --over gain=0.5:2:16")
    if options.scheduler is not None and options.workers is not None:
        raise InvalidValueError(
            f"--workers: expected none beside --scheduler, which has workers of its own, got {options.workers}; leave "
            "one of them out"
        )
    settings: dict[str, object] = {}
    for name, value in map(made.setting, options.settings):
        if name in settings:
            raise InvalidValueError(f"--set: expected each setting once, got {name} twice; leave one out")
        settings[name] = value
    grid = grid_of(made, tuple(map(made.axis, options.over)), settings, options.seeds, options.seed)
    need("distributed", extra="sweep", why="sweeps")
    options.store = options.store or options.out / f"{made.name}.sqlite"
    options.held = shop = Workshop(options.store, made)
    return lambda keep, progress: run(
        options.job, grid, shop, workers=options.workers, scheduler=options.scheduler, merge=options.merge, keep=keep,
        progress=progress,
    )  # fmt: skip


def resume(options: argparse.Namespace) -> str:
    """What an interrupted sweep is told."""
    return f"; the same command goes on from {options.store}" if getattr(options, "held", None) else ""
