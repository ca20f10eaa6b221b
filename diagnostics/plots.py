"""Draw the tables and plots of a benchmark or of a diagnostics command again, from its files alone."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "plots")

if __name__ == "__main__":
    sys.exit(main())
