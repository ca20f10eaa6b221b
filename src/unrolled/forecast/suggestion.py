"""A bound to clip at, from the norms that the first iterations had: percentiles, and Pascanu's band."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

FIRST = 200  # iterations looked at
PERCENTILES = (10, 50, 90, 99)
SUGGESTED = 90  # the percentile that is suggested: it leaves ordinary iterations alone
LOW, HIGH = 0.5, 10.0  # times the mean norm: Pascanu, Mikolov, Bengio 2013, §3.2


def suggestions(history: pd.DataFrame) -> pd.DataFrame:
    """A row per network and bound: `bound`, and the `share_first` and `share_all` of iterations it would clip.

    From the norms before clipping of each network's first variant, all its seeds together: without a clip where
    there is such a variant.
    """
    rows = []
    for network, part in history.groupby("network", sort=False):
        unclipped = part[part["clip"] == "none"]
        chosen = unclipped if len(unclipped) else part[part["clip"] == part["clip"].iloc[0]]
        chosen = chosen[np.isfinite(chosen["log10_norm"])]
        norms = 10 ** chosen["log10_norm"].to_numpy()
        first = norms[chosen["iteration"].to_numpy() <= FIRST]
        if not len(first):
            continue
        for name, bound in _bounds(first):
            rows.append(
                {
                    "network": network,
                    "what": name,
                    "bound": bound,
                    "share_first": float(np.mean(first > bound)),
                    "share_all": float(np.mean(norms > bound)),
                    "suggested": name == _percentile(SUGGESTED),
                }
            )
    return pd.DataFrame(rows)


def _bounds(norms: np.ndarray) -> list[tuple[str, float]]:
    mean = math.fsum(norms) / len(norms)
    return [
        *((_percentile(p), float(np.percentile(norms, p))) for p in PERCENTILES),
        ("half the mean", LOW * mean),
        ("ten times the mean", HIGH * mean),
    ]


def _percentile(p: int) -> str:
    return f"percentile {p}"
