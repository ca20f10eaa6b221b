"""Compare two benchmark runs: which ratios moved, which verdicts turned, and whether the machines differ."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from diagnostics.command import Parser, console, run


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m diagnostics.compare BEFORE AFTER`; gives the exit status."""
    parser = Parser(prog="python -m diagnostics.compare", description=__doc__)
    parser.add_argument("before", type=Path, help="a results folder, or a bench.json")
    parser.add_argument("after", type=Path, help="another")
    parser.add_argument(
        "--most", type=int, default=10, help="how many of the largest changes to list (default: 10)"
    )
    return run(show, parser, argv)


def show(options: argparse.Namespace) -> int:
    """Print the largest changes and what they amount to; warn on standard error when the machines differ."""
    from unrolled.checks import check_size
    from unrolled.render.comparison_table import comparison_table
    from unrolled.speed.compare import compare_runs
    from unrolled.speed.run import Run

    check_size("--most", options.most)
    paths = (options.before, options.after)
    before, after = (Run.load(path / "bench.json" if path.is_dir() else path) for path in paths)
    comparison = compare_runs(before, after)
    for name, (before, after) in comparison.differences.items():
        sys.stderr.write(f"warning: {name} differs: {before} before, {after} after; times are not comparable\n")
    screen = console()
    screen.print(comparison_table(comparison.frame, options.most))
    screen.print(
        f"{len(comparison.frame)} benchmarks in common; the median ratio moved by "
        f"{comparison.median_change:.1%}; {len(comparison.turned)} verdicts turned between faster and slower."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
