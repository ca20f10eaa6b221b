"""How many directions recurrent networks keep, and whether they are chaotic: exponents and singular values."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "spectrum")

if __name__ == "__main__":
    sys.exit(main())
