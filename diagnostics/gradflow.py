"""How far back recurrent networks learn: the gradient at every step, over length, clipped and unclipped."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "gradflow")

if __name__ == "__main__":
    sys.exit(main())
