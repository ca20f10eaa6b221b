"""All results in some folders as one HTML page: answers, figures, tables to sort, and how to measure them again."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "report")

if __name__ == "__main__":
    sys.exit(main())
