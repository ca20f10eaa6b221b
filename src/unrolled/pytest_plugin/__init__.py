"""The pytest plugin: a race in anybody's test, or a whole grid of them as benchmarks.

    def test_mine_is_not_slower(race):
        assert race(Workload(cell="lstm"), "forward", "mine:build").verdict != "slower"

It is loaded by every run of pytest where unrolled is installed, so it imports nothing before a race begins. Its options
begin with `--unrolled-`; those of a grid have short names, and are there where a grid is (`grid.py`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from unrolled.pytest_plugin.options import add_options

if TYPE_CHECKING:
    from unrolled.pytest_plugin.races import Races

RACES = pytest.StashKey["Races"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What can be asked of a race."""
    group = parser.getgroup("unrolled", "unrolled: races of recurrent networks")
    add_options(group.addoption, "--unrolled-")


@pytest.hookimpl(tryfirst=True)  # pytest-benchmark compares machines as soon as it is configured
def pytest_configure(config: pytest.Config) -> None:
    """Choose between single races and a grid, and between pytest-benchmark and none."""
    config.addinivalue_line(
        "markers", "unrolled_grid: runs once for each `case` of the grid that was asked for"
    )
    races = config.stash[RACES] = _races(config)
    config.pluginmanager.register(races, "unrolled-races")
    if hands_over(config):
        from unrolled.pytest_plugin import benchmarked

        config.pluginmanager.register(benchmarked, "unrolled-benchmarked")
    else:
        from unrolled.pytest_plugin import plain

        config.pluginmanager.register(plain, "unrolled-plain")


def under_codspeed(config: pytest.Config) -> bool:
    """Whether pytest-codspeed is on, which takes the place of pytest-benchmark."""
    return bool(config.getoption("codspeed", False)) or "CODSPEED_ENV" in os.environ


def hands_over(config: pytest.Config) -> bool:
    """Whether there is pytest-benchmark, to get what was measured."""
    return config.pluginmanager.hasplugin("benchmark") and not under_codspeed(config)


def _races(config: pytest.Config) -> Races:
    if hasattr(config.option, "unrolled_grid"):
        from unrolled.pytest_plugin.grid import Grid

        return Grid(config)
    from unrolled.pytest_plugin.races import Races

    return Races(config)
