"""Train a small forecaster with and without clipping: loss, gradient norms, closed loop and reach."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "forecast")

if __name__ == "__main__":
    sys.exit(main())
