"""How fast are fused and unrolled recurrences, over cells, layers and batch sizes?"""

from typing import Any

import pytest


@pytest.mark.unrolled_grid
def bench_layers(case: Any, race: Any) -> None:
    """One (workload, phase, implementation): checked, timed in rounds with the fused module, checked again."""
    race(case)
