"""What is known of the system that a forecaster was shown, for tables and plots."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Truth:
    """`exponents` are all Lyapunov exponents of the system `name`, from the largest down, in nats per `unit`.

    `source` says who has found them, and for which parameters.
    """

    name: str
    exponents: tuple[float, ...]
    source: str
    unit: str
