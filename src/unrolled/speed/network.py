"""Another network, raced beside the implementations of the one in question: what it is, besides its time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unrolled.cells import short_name
from unrolled.networks.options import PLAIN
from unrolled.networks.workload import Workload
from unrolled.results.codec import Count, require

if TYPE_CHECKING:
    import pandas as pd

    from unrolled.speed.result import Result

WORDS = "another network"  # in place of a verdict


@dataclass(frozen=True)
class Horizon:
    """The largest lag at which the gradient has 1/1000 of its norm at lag 0; None where it has no norm there.

    `is_censored`: it is that large at the largest lag that was looked at, too.
    """

    lag: Count | None
    is_censored: bool


# Measured by whoever runs a race: here nobody knows of gradients.
MeasureHorizon = Callable[[Workload], Horizon]


@dataclass(frozen=True)
class Network:
    """The cell of a network, how many numbers its parameters have, and the operations of a call: see `flops`.

    `operations` is NaN where they are not known. `horizon` is None where nobody measured it.
    """

    cell: str
    parameters: Count
    operations: float
    horizon: Horizon | None

    def check(self) -> None:
        """Raise `ValueError` for what no network has."""
        require(bool(self.cell), "the name of a cell")
        require(math.isnan(self.operations) or self.operations > 0, "operations")


def network_frame(results: Sequence[Result]) -> pd.DataFrame:
    """A row per other network and per reference beside one: sizes, time, ratio; no columns where there are none."""
    import pandas as pd

    return pd.DataFrame([_row(each) for each in results if each.network or each.is_another_network])


def _row(result: Result) -> dict[str, Any]:
    network = result.network or Network(result.cell, 0, math.nan, None)
    row, horizon = result.row(), network.horizon
    kept = ("num_layers", "input_size", "hidden_size", "batch_size", "seq_len", "bidirectional", *PLAIN)
    figures = ("median_s", "reference_median_s", "ratio", "ratio_low", "ratio_high")
    outcome = ("rounds", "status", "reason", "verdict")
    return {
        "cell": row["cell"],
        **{name: row[name] for name in (*kept, "phase", "device", "dtype", "threads")},
        "network": short_name(network.cell),
        "is_reference": result.is_reference,
        "parameters": float(network.parameters) or math.nan,
        "operations": network.operations,
        "horizon": math.nan if horizon is None or horizon.lag is None else float(horizon.lag),
        "horizon_is_censored": horizon is not None and horizon.is_censored,
        **{name: row[name] for name in (*figures, *outcome)},
    }
