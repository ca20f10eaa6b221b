"""The shapes of recurrent layers and cells: parameters, outputs, states, and module against loop of cells."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "shapes")

if __name__ == "__main__":
    sys.exit(main())
