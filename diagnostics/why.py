"""Why a loop is slower: a ladder from a loop of cells to the fused module, what each rung saves, and floors below."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "why")

if __name__ == "__main__":
    sys.exit(main())
