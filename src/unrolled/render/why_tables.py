"""The tables of an explanation: the ladder, what else changes one thing, floors, operations, constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from unrolled.render import text
from unrolled.render.columns import Column, tables
from unrolled.render.why_words import constants, saved_s
from unrolled.speed.why.record import LOOP

if TYPE_CHECKING:
    from unrolled.speed.why.ladder import Rung
    from unrolled.speed.why.record import Why

WIDE = 100  # columns from which on intervals are written out
MOST = 12  # operations in the table
SHOWN = (LOOP, "fused")
WHY_NOTE = (
    "A step: of one layer in one direction; its time is that of a call over the number of steps. Each rung is the one "
    "above with one thing changed; all of them run in the same rounds, in random order. Saved: time of a step, below 0 "
    "where it costs. × before: time over that of the rung before, with its 99 % interval. Floors are measured by "
    "themselves: dispatch is the whole loop at H = B = I = 1; products and traffic are called from Python once a step, "
    "in training also those of the backward pass. Operations are counted by torch's profiler, which slows them down. "
    "The model: T(call) = sum of constants times counts, fitted by least squares of relative errors."
)


def why_tables(why: Why, width: int, explain: bool = False) -> list[Group]:
    """In the order in which they are read; with `explain` the constants of the model as well."""
    made = [*_ladder(why, width), *_asides(why, width), *_floors(why, width)]
    if explain:
        made += [*_operations(why, width), *_constants(why, width)]
    return made


def _title(why: Why) -> str:
    workload, threads = why.workload, why.results[0].threads
    letters = {"L": workload.layers, "B": workload.batch_size, "T": workload.seq_len, "I": workload.input_size}
    sizes = " ".join(f"{letter}{size}" for letter, size in (letters | {"H": workload.hidden_size}).items())
    both = " both ways" if workload.bidirectional else ""
    return (
        f"{workload.cell} · {why.phase} · {workload.device} {workload.dtype} · {sizes}{both} · "
        f"{text.counted(threads, 'thread')}"
    )


def _ladder(why: Why, width: int) -> list[Group]:
    loop, rungs = why.result(LOOP), why.ladder
    if loop is None:
        return []
    whole = why.step_s(loop.shared_s)
    names = ["a loop of cells", *(rung.change.what for rung in rungs)]
    steps = [whole, *(why.step_s(rung.after_s) for rung in rungs)]
    columns = [
        Column("from a loop to the fused module", [Text(name) for name in names], left=True),
        Column("a step", [Text(text.seconds(step)) for step in steps]),
        *_saved(why, rungs, width, first=True),
    ]
    return tables(_title(why), "", columns, [], width)


def _asides(why: Why, width: int) -> list[Group]:
    rungs = [rung for rung in why.rungs if not rung.change.on_ladder]
    if not rungs:
        return []
    columns = [
        Column("one thing changed", [Text(rung.change.what) for rung in rungs], left=True),
        Column("of", [Text(rung.change.before) for rung in rungs], left=True),
        Column("a step", [Text(text.seconds(why.step_s(rung.after_s))) for rung in rungs]),
        *_saved(why, rungs, width)[1:],
    ]
    return tables("Beside the ladder", "", columns, [], width)


def _saved(why: Why, rungs: Sequence[Rung], width: int, first: bool = False) -> list[Column]:
    """The time that each saves and its ratio to the one before; `first` has a row for what comes before all."""
    none = [Text("")] if first else []
    saved = [Text(_signed(saved_s(why, rung)), style=_style(rung)) for rung in rungs]
    ratios = [Text(_ratio(rung, width >= WIDE)) for rung in rungs]
    return [Column("saved", [*none, *saved]), Column("× before", [*none, *ratios])]


def _signed(seconds: float) -> str:
    return f"{'−' * (seconds < 0)}{text.seconds(abs(seconds))}"


def _style(rung: Rung) -> str:
    if rung.ratio.high < 1:
        return "green"
    return "red" if rung.ratio.low > 1 else "dim"


def _ratio(rung: Rung, wide: bool) -> str:
    found = rung.ratio
    if not found.tells:
        return "?"
    if wide:
        return f"{text.significant(found.ratio)} ({text.significant(found.low)}–{text.significant(found.high)})"
    return f"{text.significant(found.ratio)} ±{text.percent(found.half_width)}"


def _floors(why: Why, width: int) -> list[Group]:
    loop = why.result(LOOP)
    if loop is None or not why.floors:
        return []
    steps = [why.step_s(each.seconds) for each in why.floors]
    whole = why.step_s(loop.shared_s)
    columns = [
        Column("floor, by itself", [Text(each.name) for each in why.floors], left=True),
        Column("a step", [Text(text.seconds(step)) for step in steps]),
        Column("of the loop", [Text(text.percent(step / whole)) for step in steps]),
    ]
    return tables("Floors: no less than this", "", columns, [], width)


def _operations(why: Why, width: int) -> list[Group]:
    found = why.operations_frame()
    if found.empty:
        return []
    order = (
        found[found["implementation"].isin(SHOWN)]
        .groupby("operation")["step_s"]
        .sum()
        .sort_values(ascending=False)
    )
    names = list(order.index[:MOST])

    def cells(implementation: str, column: str) -> list[float]:
        by_name = found[found["implementation"] == implementation].set_index("operation")[column]
        return [float(by_name.get(name, 0.0)) for name in names]

    columns = [Column("operation", [Text(name) for name in names], left=True)]
    for implementation in SHOWN:
        calls, seconds = cells(implementation, "calls"), cells(implementation, "step_s")
        columns += [
            Column(f"{implementation}\ncalls a step", [Text(text.significant(c) if c else "–") for c in calls]),
            Column("a step", [Text(text.seconds(s) if s else "–") for s in seconds]),
        ]
    return tables("Operations, as the profiler saw them", "", columns, [], width)


def _constants(why: Why, width: int) -> list[Group]:
    if why.model is None:
        return []
    rows = constants(why.model)
    columns = [
        Column("the model: what takes time", [Text(name) for name, *_ in rows], left=True),
        Column("cells", [Text(_seconds(loop)) for _, loop, _ in rows]),
        Column("fused", [Text(_seconds(fused)) for *_, fused in rows]),
    ]
    return tables("Constants", "", columns, [], width)


def _seconds(seconds: float) -> str:
    """Of a multiply-add too, which takes less than a nanosecond."""
    if not seconds:
        return "0"
    return text.seconds(seconds) if seconds >= 1e-9 else f"{text.significant(seconds / 1e-12)} ps"
