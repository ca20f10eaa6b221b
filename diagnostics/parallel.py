"""Try whether networks can be run in parallel over time, and compare that with what their exponents predict."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "parallel")

if __name__ == "__main__":
    sys.exit(main())
