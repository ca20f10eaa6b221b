"""The fixture `race` beside pytest-benchmark, which gets the rounds of a test's first race."""

from __future__ import annotations

from typing import Any

import pytest

from unrolled.pytest_plugin import RACES


@pytest.fixture
def race(benchmark: Any, request: pytest.FixtureRequest) -> Any:
    """`race(workload, phase, implementation)`: the `Result` of the race of an implementation with the fused module."""
    return request.config.stash[RACES].of(request, benchmark)
