"""In words: which networks can be run in parallel over time, and whether their exponents said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.render import text

if TYPE_CHECKING:
    from unrolled.over_time.record import Parallel


def answer(study: Parallel) -> str:
    """`5 of 8 networks can be run in parallel over time; for 8 of 8 the prediction is right.`"""
    if len(study.measured) == 1:
        return study.verdict
    can = sum(study.is_parallel(found) for found in study.measured)
    held, count = sum(study.holds(found) for found in study.measured), len(study.measured)
    return f"{can} of {count} networks can be run in parallel over time; for {held} of {count} the prediction is right."


def summary(study: Parallel) -> list[str]:
    """The answer, a line for each network that was predicted otherwise, and the memory."""
    said = [answer(study)]
    if len(study.measured) > 1:
        said += [
            f"{found.network}: {study.sentence(found)}" for found in study.measured if not study.holds(found)
        ]
    most = max(study.measured, key=study.memory)
    said.append(
        f"The Jacobians of {study.lengths[-1]} steps take up to {text.amount(study.memory(most), 'B', 1024)} "
        f"({most.network}), and the scan as much again."
    )
    return said
