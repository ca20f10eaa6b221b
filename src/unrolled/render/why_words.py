"""What an explanation says: the answer in a sentence, then what saves most, floors, and where a loop gets cheap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unrolled.render import text
from unrolled.speed.why.model import CHEAP, CONFIDENCE, LARGEST
from unrolled.speed.why.record import LOOP

if TYPE_CHECKING:
    from unrolled.speed.why.ladder import Rung
    from unrolled.speed.why.model import Crossing, Model
    from unrolled.speed.why.record import Why
    from unrolled.speed.why.tries import Advice

LETTERS = {"batch_size": "B", "hidden_size": "H", "seq_len": "T"}


def answer(why: Why) -> str:
    """`At batch 1, 62% of a loop's 46.1 µs a step is dispatch: 14 operations of 2.04 µs.`"""
    loop = why.result(LOOP)
    if loop is None:
        return f"Nothing can be told: the loop of cells got no time ({why.failed[0].reason})."
    step, dispatch = why.step_s(loop.shared_s), why.floor_s(f"dispatch of {LOOP}")
    batch = why.workload.batch_size
    if not dispatch:
        return f"At batch {batch} a loop of cells took {text.seconds(step)} a step."
    calls = why.operations_a_step(LOOP)
    of = f": {calls:.0f} operations of {text.seconds(dispatch / calls)}" if calls >= 1 else ""
    share = text.percent(min(dispatch / step, 1))
    return f"At batch {batch}, {share} of a loop's {text.seconds(step)} a step is dispatch{of}."


def summary(why: Why) -> list[str]:
    """The answer first."""
    return [
        answer(why),
        *_against_fused(why),
        *_most(why),
        *_helped(why),
        *_sizes(why),
        *_failures(why),
        *_busy(why),
    ]


def _against_fused(why: Why) -> list[str]:
    loop = why.result(LOOP)
    if loop is None:
        return []
    ratio = loop.interval
    low, high = text.significant(ratio.low), text.significant(ratio.high)
    took = f"A loop of {why.workload.cell} cells took {text.significant(ratio.ratio)} times as long as fused"
    return [f"{took} ({low} to {high}, 99 %)."]


def saved_s(why: Why, rung: Rung) -> float:
    """Seconds of a step."""
    return why.step_s(rung.before_s - rung.after_s)


def _most(why: Why) -> list[str]:
    """The rung that saves most, where it saves for sure."""
    sure = [rung for rung in why.ladder if rung.ratio.high < 1]
    if not sure:
        return []
    best = max(sure, key=lambda rung: saved_s(why, rung))
    return [f"What saves most: {best.change.what}, {text.seconds(saved_s(why, best))} a step."]


def _helped(why: Why) -> list[str]:
    """What was tried in place of the fused module as it was asked for, and helped: a line each."""
    if not why.advice:
        return []
    if not (helped := why.helped):
        return [f"None of {len(why.advice)} things that were tried made fused faster here."]
    return tried_lines(helped)


def tried_lines(helped: Sequence[Advice]) -> list[str]:
    """A line for each thing that was tried and helped."""
    return [f"Tried, and it helped: {each.what}, {_times(each)}." for each in helped]


def _times(advice: Advice) -> str:
    ratio, low, high = map(text.significant, (advice.ratio.ratio, advice.ratio.low, advice.ratio.high))
    pays = f"; pays after {advice.pays_after:.0f} calls" if advice.pays_after else ""
    return f"{ratio} times as long as fused ({low} to {high}){pays}"


def _sizes(why: Why) -> list[str]:
    model = why.model
    if model is None:
        return []
    said = [_crossing(each) for each in model.crossings]
    return [
        f"A loop takes at most {CHEAP} times as long as fused {text.listed(said)}, the other sizes as here, by a model "
        f"of {len(model.points)} sizes whose median error is {text.percent(model.error)}."
    ]


def _crossing(crossing: Crossing) -> str:
    letter = LETTERS[crossing.axis]
    if crossing.value is None:
        early = f" ({_value(crossing.low, crossing)} or more, {100 * CONFIDENCE:.0f} %)" if crossing.low else ""
        return f"at no {letter} up to {LARGEST[crossing.axis]}{early}"
    low, high = (_value(value, crossing) for value in (crossing.low, crossing.high))
    bounds = f" ({low} to {high}, {100 * CONFIDENCE:.0f} %)" if low != high else ""
    return f"from {letter} = {crossing.value} on{bounds}"


def _value(value: int | None, crossing: Crossing) -> str:
    return f"over {LARGEST[crossing.axis]}" if value is None else str(value)


def _failures(why: Why) -> list[str]:
    return [f"{each.implementation} got no time: {each.status}, {each.reason}." for each in why.failed]


def _busy(why: Why) -> list[str]:
    if why.during is None or not why.during.is_busy:
        return []
    return [f"The machine was busy during the ladder: {why.during}; measure again on a quiet one."]


def constants(model: Model) -> list[tuple[str, float, float]]:
    """What each constant is for, of the loop and of the fused module, in seconds."""
    from unrolled.speed.why.model import TERMS

    return list(zip(TERMS, model.loop, model.fused, strict=True))
