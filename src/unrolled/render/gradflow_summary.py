"""A gradient-flow study in one paragraph, from its tidy frames."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from unrolled.gradients.clipping import Clip
from unrolled.render.text import significant

# log10 below which a norm or a direction counts as unmoved: the 1e-6 in a clip's divisor moves nothing.
MOVED = 1e-4
MANY = 3  # profiles of one network with one verdict; where there are more, one phrase covers them all
VERDICTS = {
    "vanishing": "Vanishing",
    "exploding": "Exploding",
    "steady": "Steady",
    "mixed": "Rising in one part and falling in another",
    "none": "Without any gradient",
}


def summary(reach: pd.DataFrame, lengths: pd.DataFrame) -> str:
    """What vanishes, what explodes, how far back each network reaches, what clipping and float32 did."""
    return " ".join(
        [*_verdicts(reach), *_lengths(lengths), *_clipping(lengths), *_step(reach), *_float32(lengths)]
    )


def _verdicts(reach: pd.DataFrame) -> list[str]:
    said = []
    rows = reach[reach["problem"] == ""]
    for word, phrase in VERDICTS.items():
        some = rows[rows["verdict"] == word] if len(rows) else rows
        named: list[str] = []
        for _, part in some.groupby(["network", "clip"], sort=False):
            named += [_many(part)] if len(part) > MANY else [_one(row) for _, row in part.iterrows()]
        if named:
            said.append(f"{phrase}: {'; '.join(named)}.")
    failed = reach[reach["problem"] != ""]
    for problem, some in failed.groupby("problem", sort=False):
        labels = " and ".join(_label(row) for _, row in some.iterrows())
        said.append(f"No profile of {labels}: {problem}.")
    return said


def _label(row: pd.Series) -> str:
    clipped = f" under {row['clip']}" if row["clip"] != "none" else ""
    return f"{row['profile'] or row['network']}{clipped}"


def _one(row: pd.Series) -> str:
    """`GRU (× 0.65 a step, 13 steps back)`."""
    known = []
    if math.isfinite(row["decades_per_step"]):
        known.append(f"× {significant(10 ** row['decades_per_step'])} a step")
    if math.isfinite(row["horizon"]):
        least = "at least " if row["horizon_is_censored"] else ""
        known.append(f"{least}{row['horizon']:.0f} {'step' if row['horizon'] == 1 else 'steps'} back")
    return f"{_label(row)} ({', '.join(known)})" if known else _label(row)


def _many(rows: pd.DataFrame) -> str:
    """Several profiles of one network in a phrase: from the smallest figure to the largest."""
    known = [f"× {_range(10 ** rows['decades_per_step'], significant)} a step"]
    if rows["horizon"].notna().all():
        least = "at least " if rows["horizon_is_censored"].all() else ""
        known.append(f"{least}{_range(rows['horizon'], '{:.0f}'.format)} steps back")
    return f"{_label(rows.iloc[0])} and {len(rows) - 1} others ({', '.join(known)})"


def _range(values: pd.Series, shown: Callable[[float], str]) -> str:
    low, high = shown(values.min()), shown(values.max())
    return low if low == high else f"{low} to {high}"


def _lengths(frame: pd.DataFrame) -> list[str]:
    """What a longer sequence does to the gradients at the first step and of the parameters."""
    rows = frame[frame["problem"] == ""].drop_duplicates(["network", "length"])
    said = []
    for network, part in rows.groupby("network", sort=False):
        first, last = part.iloc[0], part.iloc[-1]
        if len(part) > 1 and math.isfinite(last["log10_first"]):
            said.append(
                f"{network} {_change(first['log10_first'], last['log10_first'])} / "
                f"{_change(first['log10_unclipped'], last['log10_unclipped'])}"
            )
    failed = frame[frame["problem"] != ""].drop_duplicates("network")
    problems = [
        f"No norm of {row['network']} at T = {row['length']}: {row['problem']}." for _, row in failed.iterrows()
    ]
    if not said:
        return problems
    return [
        f"From T = {rows['length'].min()} to {rows['length'].max()} the gradients at the first step / of the "
        f"parameters change by, in decades: {'; '.join(said)}.",
        *problems,
    ]


def _change(before: float, after: float) -> str:
    return _signed(round(after - before, 1))


def _clipping(frame: pd.DataFrame) -> list[str]:
    """What each way of clipping did to the parameters' gradients."""
    said = []
    for clip in frame["clip"].unique():
        rows = frame[(frame["clip"] == clip) & (frame["problem"] == "")]
        if clip == "none" or rows.empty:
            continue
        moved = rows[rows["touched"] > 0]
        if moved.empty:
            said.append(f"{clip} never acted.")
            continue
        largest = moved.loc[moved["log10_unclipped"].idxmax()]
        turned = moved["cosine"].min()
        direction = "kept the direction" if turned > 1 - MOVED else f"turned it (cosine down to {turned:.2f})"
        said.append(
            f"{clip} acted in {len(moved)} of {len(rows)} cases, took the parameters' norm of "
            f"{largest['network']} at T = {largest['length']} from {_power(largest['log10_unclipped'])} to "
            f"{_power(largest['log10_parameters'])} and {direction}."
        )
    finished = [clip for clip in frame["clip"].unique() if Clip.parse(clip).works_on_gradients]
    if finished:
        said.append(
            f"As {' and '.join(finished)} {'act' if len(finished) > 1 else 'acts'} on finished gradients, "
            "every profile above is the same with and without: what vanishes still does, at the same horizon."
        )
    return said


def _step(reach: pd.DataFrame) -> list[str]:
    """What a bound at every step of the backward pass changed in the profiles."""
    said = []
    rows = reach[reach["problem"] == ""]
    before = {(row["network"], row["profile"]): row for _, row in rows[rows["clip"] == "none"].iterrows()}
    for clip in (clip for clip in rows["clip"].unique() if Clip.parse(clip).works_on_states):
        pairs = [
            (before[row["network"], row["profile"]], row) for _, row in rows[rows["clip"] == clip].iterrows()
        ]
        changed = [
            f"{old['profile'] or old['network']} from {old['verdict']} to {new['verdict']}"
            for old, new in pairs
            if old["verdict"] != new["verdict"]
        ]
        effect = "; ".join(changed) if changed else "here no verdict"
        said.append(f"{clip} bounds every step of the backward pass and changes the profile itself: {effect}.")
    return said


def _float32(frame: pd.DataFrame) -> list[str]:
    """Where plain float32 gave 0, inf or NaN for a norm that is none of them."""
    said = []
    for network, rows in frame[frame["problem"] == ""].groupby("network", sort=False):
        failures = _failures(rows.drop_duplicates("length"), "float32_first", "log10_first", "first step")
        for clip, part in rows.groupby("clip", sort=False):
            place = "parameters" if clip == "none" else f"after {clip}"
            failures += _failures(part, "float32_parameters", "log10_parameters", place)
        if failures:
            said.append(f"{network} ({', '.join(failures)})")
    return [f"Plain float32 autograd fails in {'; '.join(said)}."] if said else []


def _failures(rows: pd.DataFrame, reported: str, exact: str, place: str) -> list[str]:
    """`first step zero from T = 100 on`."""
    known = rows[rows[f"has_{reported}"]]
    norms = known[reported]
    kinds = {"zero": (norms == 0) & (known[exact] > -math.inf), "inf": norms == math.inf, "NaN": norms.isna()}
    return [
        f"{place} {word} from T = {known['length'][where].min()}"
        for word, where in kinds.items()
        if where.any()
    ]


def _power(log10: float) -> str:
    """A norm by its power of ten: `1e+25`, `0.013`, `1`."""
    if abs(log10) < 3:
        return f"{10**log10:.3g}"
    return f"1e{log10:+.0f}"


def _signed(value: float) -> str:
    return f"{value:+.1f}" if value else "0.0"
