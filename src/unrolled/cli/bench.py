"""How fast: a grid of races of unrolled recurrences, or your own cells and implementations, with torch's fused modules.

Each contender of each workload is a benchmark of pytest-benchmark: options of pytest are options here as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from unrolled.errors import UnrolledError

PROG = "unrolled bench"
EXAMPLES = """examples:
  unrolled bench
  unrolled bench --cell lstm,gru --layers 1,2 --batch 16 --phase training
  unrolled bench --cell mine:Leaky --implementation compiled
  unrolled bench --implementation mine:build --threads 1,2 --out results/mine
  unrolled bench -k "lstm and B16" --benchmark-save now
"""


def main(argv: Sequence[str]) -> int:
    """Run the grid; gives the exit status of pytest."""
    from unrolled.streams import prepare, say

    prepare()
    try:
        if {"-h", "--help"} & set(argv):
            _parser().print_help()
            return 0
        return _run(argv)
    except UnrolledError as error:
        say(f"{PROG}: {error}")
        return 2


def _parser() -> argparse.ArgumentParser:
    """Of its own options alone: those of pytest fill pages."""
    from unrolled.extras import need

    need("pytest_benchmark", extra="bench", why="benchmarks")
    from unrolled.pytest_plugin.grid import add_grid_options

    parser = argparse.ArgumentParser(
        prog=PROG,
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_grid_options(parser.add_argument)
    return parser


def _run(argv: Sequence[str]) -> int:
    from unrolled.extras import need

    need("pytest_benchmark", extra="bench", why="benchmarks")
    import pytest

    from unrolled import pytest_plugin
    from unrolled.pytest_plugin import grid

    here = str(Path.cwd())
    if here not in sys.path:  # cells and implementations of one's own usually lie where the command is typed
        sys.path.insert(0, here)
    return int(pytest.main([*grid.INSTALLED, *argv], plugins=[pytest_plugin, grid]))
