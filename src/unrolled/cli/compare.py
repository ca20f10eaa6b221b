"""Compare two benchmark runs: which ratios moved, which verdicts turned, and whether the machines differ."""

from __future__ import annotations

from unrolled.cli.command import Command, Parser
from unrolled.cli.options import path, size
from unrolled.streams import console

EXAMPLES = """examples:
  python -m diagnostics.compare results/bench/previous results/bench
"""


def add_options(parser: Parser) -> None:
    """Two runs."""
    parser.add_argument("before", type=path, help="a results folder, or a bench.json")
    parser.add_argument("after", type=path, help="another")
    parser.add_argument(
        "--most", type=size, default=10, help="how many of the largest changes to list (default: 10)"
    )


def run(command: Command) -> None:
    """Print the largest changes and what they amount to; warn on standard error when the machines differ."""
    from unrolled.render.comparison_table import comparison_table
    from unrolled.render.saved import load
    from unrolled.speed.compare import compare_runs

    options = command.options
    comparison = compare_runs(*(load(run, "unrolled.bench") for run in (options.before, options.after)))
    for name, (before, after) in comparison.differences.items():
        command.say(f"warning: {name} differs: {before} before, {after} after; times are not comparable")

    def show() -> None:
        screen = console()
        screen.print(comparison_table(comparison.frame, options.most))
        screen.print(
            f"{len(comparison.frame)} benchmarks in common; the median ratio moved by "
            f"{comparison.median_change:.1%}; {len(comparison.turned)} verdicts turned between faster and slower."
        )

    command.shown(show, [])
