"""Newton's iterations at each length as a table, beside the exponent and what it predicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from unrolled.render.columns import Block, Column, tables

if TYPE_CHECKING:
    from unrolled.over_time.measured import Exponent, Growth, Iterations, Measured
    from unrolled.over_time.record import Parallel


def note(study: Parallel) -> str:
    """What the columns mean."""
    return (
        "T = 100 and so on: K, the iterations of Newton's method over so many steps at once, from a first guess "
        f"of 0 to a residual of {study.tolerance:g}, in float64; of several layers the most of one; ~ where it was "
        "damped, > where it did not converge. Power: K ~ T^p, with its standard error. Diagonal: K at the longest T, "
        "and its power, where only the diagonals of the Jacobians are used. Exponent: the largest Lyapunov exponent, "
        "nats per step, and its 99 % interval (±). Forgets: whether trajectories that begin elsewhere come together. "
        "Predicted: yes where the exponent is below 0 and it forgets; (in parentheses: its interval has both signs). "
        "In parallel: yes where K at the longest T is at most a tenth of it, or grows slower than the root of T."
    )


def parallel_tables(study: Parallel, width: int) -> list[Group]:
    """One, or as many as the terminal takes."""
    measured = study.measured
    blocks: list[Block] = [
        [
            Column("exponent", [Text(_signed(found.exponent.value)) for found in measured]),
            Column("±", [Text(_half(found.exponent), style="dim") for found in measured]),
            Column("forgets", [Text("yes" if found.forgets else "no") for found in measured]),
        ],
        [Column("predicted", [_predicted(found) for found in measured])],
    ]
    for k, length in enumerate(study.lengths):
        head = f"T = {length}" if k == 0 else f"{length}"
        blocks.append([Column(head, [_count(found.full, k) for found in measured])])
    blocks.append([Column("power", [_power(study.growth(found)) for found in measured])])
    blocks.append([Column("in parallel", [_parallel(study, found) for found in measured])])
    last = len(study.lengths) - 1
    blocks.append(
        [
            Column("diagonal", [_count(found.diagonal, last) for found in measured]),
            Column("power", [_power(study.growth(found, "diagonal")) for found in measured]),
        ]
    )
    left = [Column("network", [Text(found.network) for found in measured], left=True)]
    units = f"; {study.units}" if study.units else ""
    return tables(f"Newton's iterations over all steps at once{units}", "", left, blocks, width)


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _half(exponent: Exponent) -> str:
    return "?" if math.isinf(exponent.high) else f"{(exponent.high - exponent.low) / 2:.3f}"


def _predicted(found: Measured) -> Text:
    word = "yes" if found.predicted else "no"
    return Text(word if found.exponent.is_sure else f"({word})", style="green" if found.predicted else "red")


def _parallel(study: Parallel, found: Measured) -> Text:
    can = study.is_parallel(found)
    style = "green" if can else "red"
    return Text("yes" if can else "no", style=style if study.holds(found) else f"bold {style}")


def _count(iterations: Iterations, k: int) -> Text:
    mark = "" if iterations.converged[k] else ">"
    return Text(f"{mark}{'~' if iterations.damped[k] else ''}{iterations.counts[k]}")


def _power(growth: Growth) -> Text:
    if math.isnan(growth.power):
        return Text("–")
    error = "" if math.isnan(growth.error) else f"±{growth.error:.2f}"
    return Text(f"{growth.power + 0.0:.2f}{error}".replace("-0.00", "0.00").replace("-", "−"))
