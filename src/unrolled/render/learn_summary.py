"""A study of learning in words: whether the horizon said what was learned, and which starts learn longer delays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from unrolled.learning.statistics import Quantile
from unrolled.render import text

if TYPE_CHECKING:
    from unrolled.learning.study import Comparison, Learning


def answer(study: Learning) -> str:
    """`The horizon before training says what is learned, within a factor of 2, for 5 of 6 networks: ….`"""
    rows = study.networks_frame()
    held = int((rows["prediction"] == "holds").sum())
    if len(rows) == 1:
        row = rows.iloc[0]
        return f"{row['network']} learns delays up to {_delay(row['learned'])}: {_verdict(row.to_dict())}."
    return (
        f"The horizon before training says what is learned, within a factor of 2, for {held} of {len(rows)} "
        f"networks: {_correlated(study.correlation())}."
    )


def summary(study: Learning) -> list[str]:
    """The answer, a line for each prediction that failed, and one for each start beside torch's own."""
    rows = study.networks_frame().to_dict("records")
    failed = [f"{row['network']}: {_verdict(row)}." for row in rows if row["prediction"] != "holds"]
    alone = len(rows) == 1
    stopped = [
        f"{learner.network}, seed {learner.seed}, delay {trial.delay}: {trial.problem}."
        for learner in study.learners
        for trial in learner.trials
        if trial.problem
    ]
    return [answer(study), *([] if alone else failed), *map(compared, study.comparisons()), *_few(stopped)]


def _few(lines: list[str]) -> list[str]:
    more = len(lines) - text.MOST
    return lines if more < 1 else [*lines[: text.MOST], f"And {more} other trainings that met NaN or inf."]


def _verdict(row: dict[str, Any]) -> str:
    """`the prediction fails: it heard 11 steps back at the start, and learned up to 160`."""
    heard = f"it heard {row['before']:.0f} steps back at the start"
    learned = f"learned up to {_delay(row['learned'])}" if row["learned"] else "learned none of the delays"
    if row["prediction"] == "holds":
        return f"the prediction holds, {heard} and {learned}"
    return f"the prediction fails, it was {row['prediction']}: {heard}, and {learned}"


def _delay(steps: int) -> str:
    return f"{steps}" if steps else "none"


def _correlated(found: Quantile) -> str:
    if math.isnan(found.value):
        return "nothing to rank"
    if math.isnan(found.low):
        return f"rank correlation {_minus(found.value)}"
    return f"rank correlation {_minus(found.value)} (99 %: {_minus(found.low)} to {_minus(found.high)})"


def _minus(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def compared(found: Comparison) -> str:
    """`LSTM, chrono:160 learns longer delays than LSTM in 10 of 10 seeds, 8 times as long (99 %: 4 to 16).`"""
    who = f"{found.network} learns longer delays than {found.against}"
    of = f"in {found.longer} of {found.seeds} seeds"
    shorter = f", shorter ones in {found.shorter}" if found.shorter else ""
    factor = found.factor
    sure = (
        f" ({math.floor(1000 * factor.coverage) / 10:g} %: {factor.low:.3g} to {factor.high:.3g})"
        if found.seeds > 1
        else ""
    )
    return f"{who} {of}{shorter}: {factor.value:.3g} times as long{sure}."
