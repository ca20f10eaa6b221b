"""Two benchmark runs side by side: a table, Markdown for a pull request, or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from unrolled.networks.options import PLAIN
from unrolled.render import text
from unrolled.render.columns import compact_table
from unrolled.render.speed_axes import value_of
from unrolled.render.speed_tables import HEADS, STYLES
from unrolled.results.codec import encode

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.speed.compare import Change, Comparison, Judged, Mean, Turn
    from unrolled.speed.statistics import Estimate

WIDE = 110  # columns that both ends of an interval fit into
LARGEST = 100.0  # of a ratio that is written as a percentage
LOUD = ("slower", "faster")


def _option(name: str) -> Callable[[Change], str]:
    return lambda change: value_of(getattr(change.after.workload, name))


# What tells benchmarks apart, and the name that it has at the head of a column.
AXES: dict[str, Callable[[Change], Any]] = {
    "cell": lambda change: change.after.workload.cell_name,
    "layers": lambda change: change.after.workload.num_layers,
    "batch": lambda change: change.after.workload.batch_size,
    "steps": lambda change: change.after.workload.seq_len,
    "inputs": lambda change: change.after.workload.input_size,
    "hidden": lambda change: "+".join(map(str, dict.fromkeys(change.after.workload.hidden_sizes))),
    "both ways": lambda change: "yes" if change.after.workload.bidirectional else "no",
    **{HEADS[name]: _option(name) for name in PLAIN},
    "dtype": lambda change: change.after.workload.dtype,
    "device": lambda change: change.after.workload.device,
    "threads": lambda change: change.after.threads,
}
ALWAYS = ("cell", "layers", "batch")
MOST = 10  # changes that are listed


def answer(comparison: Comparison) -> str:
    """The one sentence."""
    said = verdict(comparison)
    return f"{said[0].upper()}{said[1:]}."


def line(comparison: Comparison) -> str:
    """The verdict, and what it is over."""
    return f"{verdict(comparison)}; {len(comparison.changes)} changes held to {bounds(comparison)}"


def show(comparison: Comparison, screen: Console, most: int = MOST) -> None:
    """The largest changes of ratios, then those of the references' times, and what all of it amounts to."""
    for of_reference in (False, True):
        changes = [change for change in comparison.changes if change.of_reference == of_reference]
        if changes:
            screen.print(comparison_table(changes, most, screen.width >= WIDE))
            screen.print()
    for said in (answer(comparison), *summary(comparison, most)):
        screen.print(said, markup=False)


def comparison_table(changes: Sequence[Change], most: int, wide: bool) -> Table:
    """The `most` largest changes, those beyond a bound first: all of ratios, or all of references' times."""
    count, name = min(most, len(changes)), changes[0].name
    of_reference = changes[0].of_reference
    table = compact_table(f"time of {name} (99 %)" if of_reference else f"the {count} largest changes (99 %)")
    axes = _axes(changes)
    for axis in axes:
        table.add_column(axis, justify="left" if axis == "cell" else "right")
    for heading in ("phase", *([] if of_reference else ["implementation"])):
        table.add_column(heading)
    for heading in [] if of_reference else [*(["before", "after"] if wide else []), "ratio"]:
        table.add_column("change\nof ratio" if heading == "ratio" else f"ratio\n{heading}", justify="right")
    table.add_column("change\nof time", justify="right")
    table.add_column("outcome")
    for change in largest(changes)[:count]:
        row = [str(AXES[axis](change)) for axis in axes]
        row += [change.after.phase, *([] if of_reference else [change.name, *_ratios(change, wide)])]
        outcome = Text(change.outcome, style=STYLES.get(change.outcome, ""))
        table.add_row(*row, interval(change.time, wide), outcome)
    return table


def _ratios(change: Change, wide: bool) -> list[str]:
    sides = [text.significant(each.interval.ratio) for each in (change.before, change.after)]
    return [*(sides if wide else []), interval(change.change, wide)]


def _axes(changes: Sequence[Change]) -> list[str]:
    """Cell, layers and batch always, and every other axis that varies."""
    return [axis for axis, of in AXES.items() if axis in ALWAYS or len({of(change) for change in changes}) > 1]


def largest(changes: Sequence[Change]) -> list[Change]:
    """Those beyond a bound first, then by size."""
    return sorted(changes, key=lambda each: (each.outcome not in LOUD, -abs(each.change.log)))


def interval(change: Estimate, both_ends: bool = True) -> str:
    """`+10.1% (9.2 to 11.0)`, or `+10.1% ±0.9%`."""
    found = change.interval
    middle = _signed(found.ratio)
    if both_ends:
        return f"{middle} ({_signed(found.low).rstrip('%')} to {_signed(found.high).rstrip('%')})"
    return f"{middle} ±{text.percent(found.half_width) if found.half_width < LARGEST else '∞'}"


def _signed(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%" if ratio < LARGEST else f"×{ratio:.3g}"


def summary(comparison: Comparison, most: int) -> list[str]:
    """Lines: the means, what is gone, wrong, new or mended, and how many changes are of which kind."""
    lines = [mean_line(mean) for mean in comparison.means]
    for heading, turns in _turned(comparison):
        lines += [f"{heading}: {turn}" for turn in turns[:most]]
        lines += [f"{heading}: {len(turns) - most} more"] if len(turns) > most else []
    return [*lines, *agreement(comparison), counts(comparison)]


def agreement(comparison: Comparison) -> list[str]:
    """`The intervals of one run hold 94% of the other's ratios, and 92% the other way; ...`."""
    after, before = comparison.held
    if math.isnan(after):
        return []
    held = f"The intervals of the first run hold {after:.0%} of the second one's ratios, and {before:.0%} the other way"
    return [f"{held}; ratios moved by {text.percent(comparison.moved)} in the median."]


def mean_line(mean: Mean) -> str:
    """`hoisted: +10.1% (+9.2 to +11.0) over 54 benchmarks, slower`."""
    what = f"time of {mean.name}" if mean.of_reference else mean.name
    return f"{what}: {interval(mean.change)} over {mean.count} benchmarks, {mean.outcome}"


def _turned(comparison: Comparison) -> list[tuple[str, list[Turn]]]:
    """What is not as it was, the worst first."""
    lost, others = comparison.lost, [turn for turn in comparison.turns if not turn.lost]
    mended = [turn for turn in others if turn.after == "ok" and turn.before != "new"]
    new = [turn for turn in others if turn.before == "new"]
    rest = [turn for turn in others if turn not in mended and turn not in new]
    return [("lost", lost), ("mended", mended), ("new", new), ("still without a time", rest)]


def counts(comparison: Comparison) -> str:
    """`162 changes held to slower:5%: 54 slower, 3 undecided, 105 within.`, and how many are lost."""
    outcomes = [change.outcome for change in comparison.changes]
    said = [f"{outcomes.count(kind)} {kind}" for kind in LOUD if kind in outcomes]
    said += [f"{outcomes.count(kind)} {kind}" for kind in ("undecided", "within")]
    lost = f" {len(comparison.lost)} lost." if comparison.lost else ""
    return f"{len(outcomes)} changes held to {bounds(comparison)}: {', '.join(said)}.{lost}"


def bounds(comparison: Comparison) -> str:
    """`slower:5% and reference:20%`."""
    return " and ".join(map(str, comparison.bounds))


def verdict(comparison: Comparison) -> str:
    """What is to be known first: `slower: hoisted`."""
    said = [f"{len(comparison.lost)} lost"] if comparison.lost else []
    said += ["the machines differ"] if comparison.differences else []
    for kind in LOUD:
        named = _named([each for each in comparison.beyond if each.outcome == kind])
        said += [f"{kind}: {named}"] if named else []
    undecided = f", {len(comparison.undecided)} of {len(comparison.changes)} undecided"
    return "; ".join(said) or f"nothing beyond {bounds(comparison)}{undecided if comparison.undecided else ''}"


def _named(beyond: Sequence[Judged]) -> str:
    return ", ".join(
        dict.fromkeys(f"time of {each.name}" if each.of_reference else each.name for each in beyond)
    )


def markdown(comparison: Comparison, most: int) -> str:
    """A heading with the verdict, the changes beyond a bound and the largest undecided ones, and the counts."""
    notable = [change for change in largest(comparison.changes) if change.outcome != "within"]
    lines = [f"### Benchmarks: {verdict(comparison)}", ""]
    if notable:
        axes = _axes(notable)
        heads = [*axes, "phase", "implementation", "ratio", "time", ""]
        lines += [_row(heads), _row(["---"] * len(heads))]
        for change in notable[:most]:
            ratio = "" if change.of_reference else interval(change.change)
            outcome = f"**{change.outcome}**" if change.outcome in LOUD else change.outcome
            values = [str(AXES[axis](change)) for axis in axes]
            lines.append(
                _row([*values, change.after.phase, change.name, ratio, interval(change.time), outcome])
            )
        lines.append("")
    lines += [f"- {_escaped(line)}" for line in (*summary(comparison, most), *differing(comparison))]
    return "\n".join(lines) + "\n"


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escaped, values))} |"


def _escaped(words: str) -> str:
    return words.replace("|", r"\|").replace("<", "&lt;").replace("_", r"\_").replace("\n", " ")


def differing(comparison: Comparison) -> list[str]:
    """A line for each thing that moves times and differs between the machines."""
    return [
        f"{name} differs: {before} before, {after} after"
        for name, (before, after) in comparison.differences.items()
    ]


def as_json(comparison: Comparison, status: int) -> str:
    """Everything, on one line."""
    content = {
        "status": status,
        "verdict": verdict(comparison),
        "bounds": list(map(str, comparison.bounds)),
        "differences": {name: list(pair) for name, pair in comparison.differences.items()},
        "undecided": len(comparison.undecided),
        "held": list(comparison.held),
        "moved": comparison.moved,
        "means": [_judged(mean) | {"count": mean.count} for mean in comparison.means],
        "changes": [_judged(change) | _sides(change) for change in comparison.changes],
        "turns": [encode(turn) | {"lost": turn.lost} for turn in comparison.turns],
    }
    return json.dumps(encode(content), allow_nan=False) + "\n"


def _judged(one: Judged) -> dict[str, Any]:
    of = "time of the reference" if one.of_reference else "ratio"
    return {"implementation": one.name, "of": of, "outcome": one.outcome, "change": _ends(one.change)}


def _ends(change: Estimate) -> dict[str, float]:
    """As shares: 0.1 is a tenth more."""
    found = change.interval
    return {"share": found.ratio - 1, "low": found.low - 1, "high": found.high - 1}


def _sides(change: Change) -> dict[str, Any]:
    sides = {"before": change.before, "after": change.after}
    return {
        "workload": encode(change.after.workload),
        "phase": change.after.phase,
        "threads": change.after.threads,
        "change_of_time": _ends(change.time),
        "seconds": {
            name: each.reference_median_s if change.of_reference else each.median_s
            for name, each in sides.items()
        },
        "ratio": {
            name: 1.0 if change.of_reference else math.exp(each.estimate.log) for name, each in sides.items()
        },
    }
