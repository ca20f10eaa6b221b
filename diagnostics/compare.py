"""Compare two benchmark runs: which ratios moved, which verdicts turned, and whether the machines differ."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "compare")

if __name__ == "__main__":
    sys.exit(main())
