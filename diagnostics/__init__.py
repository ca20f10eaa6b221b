"""The commands in a checkout: `python -m diagnostics` lists them, and `python -m diagnostics.gradflow` is one."""

import sys
from importlib.util import find_spec

_missing = [name for name in ("unrolled", "torch", "numpy", "pandas", "rich") if find_spec(name) is None]
if _missing:
    sys.stderr.write(
        f"diagnostics: expected packages that {sys.executable} does not have, {', '.join(_missing)}; "
        "run one of the make commands, which install them into .venv, and activate that\n"
    )
    raise SystemExit(2)

from unrolled.cli.door import end_on_signals  # noqa: E402 (not before it is known to be there)

if sys.argv[0] == "-m":  # as Python has it while it looks for the module to run
    end_on_signals("python -m diagnostics")
