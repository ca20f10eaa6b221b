"""`python -m diagnostics`: the commands, one line each."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table


def commands() -> dict[str, str]:
    """Name and docstring of every module here, read without importing it."""
    return {
        path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for path in sorted(Path(__file__).parent.glob("[a-z]*.py"))
    }


def list_commands() -> int:
    """Print the commands."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, line in commands().items():
        table.add_row(f"python -m diagnostics.{name}", line)
    Console(highlight=False).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(list_commands())
