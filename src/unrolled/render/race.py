"""What came of one race: how an implementation compares with its reference, and how surely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.render import text
from unrolled.render.network_tables import network_tables
from unrolled.render.speed_tables import speed_tables
from unrolled.speed.grid import shown_name
from unrolled.speed.network import network_frame
from unrolled.speed.result import frame

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.speed.result import Result


def answer(result: Result) -> str:
    """`hoisted took 1.60 times as long as fused (1.55 to 1.65): slower.`"""
    name, reference = (shown_name(result.workload, each) for each in (result.implementation, "fused"))
    if not result.timed:
        return f"{name} got no time: {result.status}{f', {result.reason}' if result.reason else ''}."
    interval = result.interval
    if not interval.tells:
        return f"Nothing can be told about {name}: its interval is wider than a factor of two."
    ratio, low, high = (text.significant(value) for value in (interval.ratio, interval.low, interval.high))
    than = "itself" if result.is_reference else reference
    return f"{name} took {ratio} times as long as {than} ({low} to {high}, 99 %): {result.verdict}."


def line(result: Result) -> str:
    """`hoisted slower, 1.60 (1.55 to 1.65) times as long as fused; lstm L1 B16 T50 H128, training, 2 threads`."""
    name, reference = (shown_name(result.workload, each) for each in (result.implementation, "fused"))
    if not result.timed:
        said = f"{name} {result.status}{f' ({result.reason})' if result.reason else ''}"
    else:
        ratio, low, high = map(
            text.significant, (result.interval.ratio, result.interval.low, result.interval.high)
        )
        said = f"{name} {result.verdict}, {ratio} ({low} to {high}) times as long as {reference}"
    return f"{said}; {result.workload.label} {result.phase}, {text.counted(result.threads, 'thread')}"


def show(result: Result, screen: Console) -> None:
    """The answer, the row of the benchmark's table, and what else the implementation did."""
    screen.print(answer(result), markup=False)
    screen.print()
    if result.is_another_network:
        shown = network_tables(network_frame([result]), screen.width)
    else:
        shown = speed_tables(frame([result]), screen.width)
    for table in shown:
        screen.print(table)
    for note in result.notes:
        screen.print(f"{note.rstrip('.')}.", markup=False)
