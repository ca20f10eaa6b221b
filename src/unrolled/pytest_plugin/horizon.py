"""How far back a network hears, to stand beside its time where another network is raced."""

from __future__ import annotations

from functools import lru_cache

from unrolled.errors import UnrolledError
from unrolled.networks.workload import Workload
from unrolled.speed.network import Horizon

STEPS = 200  # at least, so that a short workload says something too
BATCH = 16


def horizon(workload: Workload) -> Horizon:
    """Of the last layer's hidden state, with a loss at the last step: as `unrolled gradflow` has it.

    It is that of the network as it starts, in float32 at the least, on the CPU.
    """
    return _horizon(
        workload.replace(
            seq_len=max(workload.seq_len, STEPS),
            batch_size=BATCH,
            dtype="float64" if workload.dtype == "float64" else "float32",
            device="cpu",
            batch_first=False,
            dropout=0.0,
            packed=False,
        )
    )


@lru_cache(maxsize=256)
def _horizon(workload: Workload) -> Horizon:
    from unrolled.gradients.reach import last_layer, measure_reach
    from unrolled.networks.textbook import Network

    try:
        reach = measure_reach(Network(name=workload.cell_name, workload=workload))
    except UnrolledError:
        return Horizon(None, False)
    if reach.flow is None:
        return Horizon(None, False)
    verdict = last_layer(reach.flow).verdict
    return Horizon(verdict.horizon, verdict.horizon_is_censored)
