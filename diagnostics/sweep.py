"""One measurement over a grid of settings and seeds, on all cores: a store to go on from, and a phase diagram."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "sweep")

if __name__ == "__main__":
    sys.exit(main())
