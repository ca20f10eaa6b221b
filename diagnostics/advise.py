"""Say what to change about a network that does not learn, after trying it beside the network as it is."""

import sys
from functools import partial

from unrolled.cli.command import main as run

main = partial(run, "advise")

if __name__ == "__main__":
    sys.exit(main())
