"""This machine and its versions: everything about them that moves a timing, for a report of a problem."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from unrolled.cli.command import Command, Parser
from unrolled.streams import console

EXAMPLES = """examples:
  unrolled env
  unrolled env --json
"""
PACKAGES = ("numpy", "pandas", "matplotlib", "rich", "msgspec", "pytest", "pytest-benchmark", "jinja2")


def add_options(parser: Parser) -> None:
    """How it is written."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(command: Command) -> None:
    """Print it, a line for each fact."""
    from unrolled.environment import Environment

    facts = {"unrolled": version("unrolled"), **asdict(Environment.capture())}
    facts |= {name: found for name in PACKAGES if (found := _version(name))}
    screen = console()
    if command.options.json:
        screen.print_json(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        screen.print(f"{name:<{width}}  {'none' if value is None else value}", soft_wrap=True, highlight=False)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
