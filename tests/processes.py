"""Python in a process of its own, in an environment that the tests decide about and not the machine."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What pytest, rich, argparse and Python would read from the environment and answer differently for.
DROPPED = ("PYTEST_", "PYTHON", "COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_", "LANG", "LC_")


def environment():
    """The machine's, without what `DROPPED` names; text is UTF-8."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return kept | {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def python(*arguments, cwd=ROOT):
    """Run `python ARGUMENTS` to its end; status, output and errors are in what it gives."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd, env=environment(), capture_output=True, encoding="utf-8", check=False, timeout=300,
    )  # fmt: skip
