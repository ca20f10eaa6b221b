"""What the plots of a forecast study show, each in a sentence worked out from what is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unrolled.forecast.outcome import DIVERGED, OUTCOMES
from unrolled.render.forecast_variants import Variant
from unrolled.render.text import counted, number, percent, significant, span

if TYPE_CHECKING:
    import pandas as pd

HORIZON = -3  # decades: 1/1000 of the norm at lag 0
FEW = 3  # variants that a title names one by one
PAST = {
    "converged": "converged",
    "not converged": "did not converge",
    "spiked": "spiked",
    "diverged": "diverged",
}


def loss_title(runs: pd.DataFrame, variants: Sequence[Variant]) -> str:
    """What became of each variant, and what its loss is of that of the best constant answer."""
    shown = [variant.rows(runs) for variant in variants]
    if len(variants) > FEW:
        return _tally([outcome for rows in shown for outcome in rows["outcome"]])
    alone = len({variant.network for variant in variants}) == 1
    said, unit = [], " of the loss of the best constant answer"
    for variant, rows in zip(variants, shown, strict=True):
        name = variant.network if len(variants) == 1 else variant.how if alone else variant.title
        share = float((rows["final_loss"] / rows["constant_loss"]).dropna().median())
        known = share <= DIVERGED
        said.append(f"{name} {_became(list(rows['outcome']))}{f' ({_share(share)}{unit})' if known else ''}")
        unit = "" if known else unit
    sentence = "; ".join(said)
    return f"{variants[0].network}: {sentence}" if alone and len(variants) > 1 else sentence


def _tally(outcomes: Sequence[str]) -> str:
    """`3 of 5 trainings converged, 2 diverged`."""
    counts = {each: outcomes.count(each) for each in OUTCOMES if each in outcomes}
    (first, count), *others = counts.items()
    if not others:
        return (
            f"All {count} trainings {PAST[first]}"
            if first != "not converged"
            else f"None of {count} trainings converged"
        )
    rest = ", ".join(f"{count} {PAST[each]}" for each, count in others)
    return f"{count} of {len(outcomes)} trainings {PAST[first]}, {rest}"


def _became(outcomes: Sequence[str]) -> str:
    """`converged`, `diverged in 8 of 10 seeds, converged in 2 of 10 seeds`."""
    counts = {each: outcomes.count(each) for each in OUTCOMES if each in outcomes}
    if len(counts) == 1:
        return PAST[outcomes[0]]
    return ", ".join(f"{PAST[each]} in {count} of {len(outcomes)} seeds" for each, count in counts.items())


def _share(share: float) -> str:
    return percent(share) if share >= 0.01 else f"{significant(100 * share)}%"


def norm_title(runs: pd.DataFrame, history: pd.DataFrame, variants: Sequence[Variant]) -> str:
    """How often each clip fired, and the largest norm that there was."""
    finite = history["log10_norm"][np.isfinite(history["log10_norm"])]
    largest = f"the largest gradient norm is {number(float(finite.max()))}"
    clips = [clip for variant in variants for clip in variant.clips if clip != "none"]
    if not clips:
        return f"Without a clip, {largest}"
    medians = runs.dropna(subset="fired").groupby("clip")["fired"].median()
    shares = {clip: float(medians.get(clip, math.nan)) for clip in dict.fromkeys(clips)}
    fired = [f"{clip} acted in {percent(share)} of iterations" for clip, share in shares.items() if share > 0]
    never = [clip for clip, share in shares.items() if share == 0]
    if len(fired) > FEW:
        some = [share for share in shares.values() if share > 0]
        fired = [f"{len(fired)} clips acted in {span(percent(min(some)), percent(max(some)))} of iterations"]
    said = [*fired, *([f"{', '.join(never)} never acted"] if never else []), largest]
    return "; ".join(said)


def prediction_title(loops: pd.DataFrame, variants: Sequence[Variant]) -> str:
    """How far off the closed loops are, beside always predicting 0: root mean square errors."""
    once, warmed = [], []
    for variant in variants:
        rows = variant.rows(loops)
        warm_up = int(rows["warm_up"].iloc[0])
        once.append(_rmse(rows["prediction"], rows["truth"]))
        warmed.append(_rmse(rows["warmed_up"][rows["step"] >= warm_up], rows["truth"][rows["step"] >= warm_up]))
    zero = significant(predicting_zero(loops))
    warm_up = int(loops["warm_up"].iloc[0])
    points = counted(warm_up, "true point")
    if not any(map(math.isfinite, [*once, *warmed])):
        return f"No closed loop stays finite; predicting 0 is off by {zero} (RMSE)"
    return (
        f"In a closed loop predictions are off by {_ends(once)} (RMSE) after one true point, by {_ends(warmed)} after "
        f"{points}; predicting 0 by {zero}"
    )


def predicting_zero(loops: pd.DataFrame) -> float:
    """Its root mean square error, over the points of one loop."""
    truth = loops.drop_duplicates("step")["truth"].to_numpy()
    return float(np.sqrt(np.mean(truth**2)))


def _rmse(predictions: pd.Series, truth: pd.Series) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean((predictions.to_numpy() - truth.to_numpy()) ** 2)))


def _ends(errors: Sequence[float]) -> str:
    finite = [error for error in errors if math.isfinite(error) and error > 0]
    if not finite:
        return "more than any number"
    return span(number(math.log10(min(finite))), number(math.log10(max(finite))))


def reach_title(reach: pd.DataFrame, variants: Sequence[Variant]) -> str:
    """How far back the gradient reaches before any training, and in the end."""
    before, after, end = [], [], 0
    for variant in variants:
        marks = {mark: part.sort_values("lag") for mark, part in variant.rows(reach).groupby("iteration")}
        if len(marks) < 2:
            continue
        first, *_, last = marks
        before.append(_reached(marks[first]))
        after.append(_reached(marks[last]))
        end = max(end, int(last))
    if not before:
        return "How far back the gradient reaches: 1/1000 of lag 0 is the horizon"
    return (
        f"1/1000 of the gradient is left {_back(before)} back before training, {_back(after)} after "
        f"{counted(end, 'iteration')}"
    )


def _back(steps: Sequence[int]) -> str:
    return (
        span(str(min(steps)), counted(max(steps), "step"))
        if min(steps) < max(steps)
        else counted(steps[0], "step")
    )


def _reached(part: pd.DataFrame) -> int:
    norm = part["log10_norm"].to_numpy()
    return int(np.flatnonzero(norm - norm[0] >= HORIZON)[-1]) if math.isfinite(norm[0]) else 0
