"""This machine and its versions: everything about them that moves a timing, for a report of a problem."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "env")

if __name__ == "__main__":
    sys.exit(main())
