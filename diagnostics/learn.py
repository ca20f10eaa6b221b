"""Train networks on tasks of known delay, and compare what they learn with the horizon at the start."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "learn")

if __name__ == "__main__":
    sys.exit(main())
