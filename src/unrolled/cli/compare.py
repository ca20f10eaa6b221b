"""Compare two benchmark runs: what changed and how surely, what is gone or wrong, and whether the machines differ."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from unrolled.cli.command import Command, Parser
from unrolled.cli.options import path, size
from unrolled.streams import console

if TYPE_CHECKING:
    from unrolled.speed.compare import Bound
    from unrolled.speed.run import Run

EXAMPLES = """examples:
  unrolled compare results/bench/previous results/bench
  unrolled compare main/ branch/ --fail slower:5% --format markdown
  unrolled compare old/ new/ --fail slower:5% --fail reference:20% --allow torch --strict

exit status, with --fail:
  0  no benchmark is surely beyond a bound; how many are undecided is said
  1  the whole 99 % interval of a change, or of an implementation's mean change, lies beyond a bound; or a benchmark
     that had a time is gone, WRONG, FAILED, out of memory or timed out (this comes before 3)
  2  the runs cannot be compared as it was asked
  3  the machines differ, so times tell nothing; with --strict also where benchmarks stay undecided
Without --fail it is 0 for whatever there is to see.
"""
FORMATS = ("table", "markdown", "json")


def bound(text: str) -> Bound:
    """`slower:5%`."""
    from unrolled.speed.compare import Bound

    return Bound.parse(text)


def fields(text: str) -> tuple[str, ...]:
    """`torch,os`: of the environment."""
    from dataclasses import fields

    from unrolled.environment import Environment
    from unrolled.errors import InvalidValueError

    names, known = tuple(text.split(",")), [field.name for field in fields(Environment)]
    for name in names:
        if name not in known:
            raise InvalidValueError(f"expected {', '.join(known[:-1])} or {known[-1]}, got {name!r}; try torch")
    return names


def add_options(parser: Parser) -> None:
    """Two runs, what may not happen between them, and how it is shown."""
    parser.add_argument("before", type=path, help="a results folder, a bench.json or a bench.partial.json")
    parser.add_argument("after", type=path, help="another")
    parser.add_argument("--fail", type=bound, action="append", metavar="BOUND",
                        help="slower:5%% of ratios, and of the time of the reference unless reference:20%% says how "
                             "much slower that may be; or faster:5%%; repeatable")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="with --fail: undecided benchmarks do not pass")
    parser.add_argument("--allow", type=fields, default=(), metavar="NAME,...",
                        help="what may differ between the machines, such as torch, when that is compared")  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, default="table", help="markdown is for a pull request")
    parser.add_argument(
        "--most", type=size, default=10, help="how many of the largest changes to list (default: 10)"
    )


def run(command: Command) -> None:
    """Print the largest changes and what they amount to; warn on standard error when the machines differ."""
    from unrolled.errors import InvalidValueError
    from unrolled.render import comparison as view
    from unrolled.render.saved import load
    from unrolled.speed.compare import BOUNDS, compare_runs

    options = command.options
    if options.strict and not options.fail:
        raise InvalidValueError("--strict: expected a bound beside it, got none; add --fail slower:5%")
    before, after = (load(run, "unrolled.bench") for run in (options.before, options.after))
    comparison = compare_runs(before, after, options.fail or BOUNDS, allowed=options.allow)
    status = comparison.status(strict=options.strict) if options.fail else 0
    for line in view.differing(comparison):
        command.say(f"warning: {line}; times are not comparable")
    for name, one in (("before", before), ("after", after)):
        if has_one_pass(one):
            command.say(
                f"warning: {name}: all rounds are of one pass, so intervals leave out how the machine drifts"
            )

    def show() -> None:
        if options.format == "table":
            view.show(comparison, console(), options.most)
        elif options.format == "markdown":
            sys.stdout.write(view.markdown(comparison, options.most))
        else:
            sys.stdout.write(view.as_json(comparison, status))

    command.shown(show, [])
    if status:
        command.say(f"{view.verdict(comparison)} (exit status {status})")
    command.status = command.status or status


def has_one_pass(run: Run) -> bool:
    """Whether nothing in it was measured twice, minutes apart."""
    return max(len(result.passes) for result in run.results) < 2
