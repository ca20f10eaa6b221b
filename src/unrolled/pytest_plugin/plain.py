"""The fixture `race` where pytest-benchmark is not."""

from __future__ import annotations

from typing import Any

import pytest

from unrolled.pytest_plugin import RACES


@pytest.fixture
def race(request: pytest.FixtureRequest) -> Any:
    """`race(workload, phase, implementation)`: the `Result` of the race of an implementation with the fused module."""
    return request.config.stash[RACES].of(request, None)
