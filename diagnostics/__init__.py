"""Runnable modules: `python -m diagnostics` lists them."""

import sys
from importlib.util import find_spec

_missing = [
    name for name in ("unrolled", "torch", "numpy", "pandas", "matplotlib", "rich") if find_spec(name) is None
]
if _missing:
    sys.stderr.write(
        f"diagnostics: expected packages that {sys.executable} does not have, {', '.join(_missing)}; "
        "run one of the make commands, which install them into .venv, and activate that\n"
    )
    raise SystemExit(2)
