"""A gradient-flow study in words, from its tidy frames: the answer, a line for each network, and the rest."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from unrolled.gradients.clipping import Clip
from unrolled.render.text import counted, listed, significant

# log10 below which a norm or a direction counts as unmoved: the 1e-6 in a clip's divisor moves nothing.
MOVED = 1e-4
MANY = 3  # profiles of one network with one verdict; where there are more, one line covers them all
# What is said of one, and of several.
VERBS = {
    "vanishing": ("vanishes", "vanish"),
    "exploding": ("explodes", "explode"),
    "steady": ("holds", "hold"),
    "mixed": ("rises in one part and falls in another", "rise in one part and fall in another"),
    "none": ("is 0 everywhere", "are 0 everywhere"),
}


def summary(reach: pd.DataFrame, lengths: pd.DataFrame, explain: bool = False) -> str:
    """The answer in a line, then a line for each network; with `explain` also what length, clips and float32 did."""
    lines = [answer(reach), *network_lines(reach), *_problems(lengths)]
    return "\n".join([*lines, *explained(reach, lengths)] if explain else lines)


def explained(reach: pd.DataFrame, lengths: pd.DataFrame) -> list[str]:
    """What a longer sequence, each way of clipping, and plain float32 do to the gradient: a sentence each."""
    return [*_lengths(lengths), *_clipping(lengths), *_step(reach), *_float32(lengths)]


def answer(reach: pd.DataFrame) -> str:
    """How far back the networks hear, or the one network: `2 of 8 networks still hear 200 steps back: ….`"""
    rows = reach[reach["problem"] == ""]
    if rows.empty:
        return f"The gradient of {listed(list(reach['network'].unique()))} cannot be followed: NaN or inf."
    if rows["profile"].any():
        return _answer_of_one(rows)
    last = int(rows["steps"].max()) - 1
    far = rows[_hears_all(rows)]
    of = f"{len(reach)} {'networks' if reach['clip'].nunique() == 1 else 'networks and clips'}"
    if len(reach) == 1:
        return _answer_of_one(rows)
    if len(far):
        verb = "hears" if len(far) == 1 else "hear"
        named = listed([_named(row) for _, row in far.iterrows()])
        return f"{len(far)} of {of} still {verb} {counted(last, 'step')} back: {named}."
    said = f"None of {of} hears {counted(last, 'step')} back"
    best = farthest(rows)
    if best["verdict"] == "none":
        return f"{said}."
    return f"{said}; {_label(best)} hears farthest, {counted(best['horizon'], 'step')}."


def _hears_all(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["horizon_is_censored"].astype(bool)


def _named(row: pd.Series) -> str:
    """With a word where hearing all of it is no good sign."""
    return f"{_label(row)} (exploding)" if row["verdict"] == "exploding" else _label(row)


def farthest(rows: pd.DataFrame) -> pd.Series:
    """The row that hears farthest; the first where none hears anything.

    One that runs forward, where there is one: a reverse direction counts its steps back from the first of the sequence,
    so that all it hears of a loss at the last step is near by.
    """
    forward = rows[rows["direction"] == "forward"]
    rows = forward if len(forward) else rows
    horizons = rows["horizon"].astype(float)
    return rows.loc[rows.index[0] if horizons.isna().all() else horizons.idxmax()]


def _answer_of_one(rows: pd.DataFrame) -> str:
    """By the profile that reaches farthest: `LSTM hears 12 of 200 steps back, by rnn.l0.c: its gradient vanishes.`"""
    rows = rows[rows["clip"] == rows["clip"].iloc[0]]
    network = rows["network"].iloc[0]
    best = farthest(rows)
    if best["verdict"] == "none":
        return f"No gradient comes back to {network or 'the network'}."
    by = f", by {best['profile']}" if len(rows) > 1 else ""
    return f"{network or 'The network'} hears {_heard(best)} steps back{by}: its gradient {VERBS[best['verdict']][0]}."


def network_lines(reach: pd.DataFrame) -> list[str]:
    """A line for each network and clip; of one network for each profile, or for all that are alike."""
    lines = []
    for _, part in reach.groupby(["network", "clip"], sort=False):
        failed, rows = part[part["problem"] != ""], part[part["problem"] == ""]
        lines += [f"{_label(row)} cannot be followed: {row['problem']}." for _, row in failed.iterrows()]
        for _, alike in rows.groupby("verdict", sort=False) if len(rows) else ():
            lines += [_many(alike)] if len(alike) > MANY else [_one(row) for _, row in alike.iterrows()]
    return lines


def _label(row: pd.Series) -> str:
    clipped = f" under {row['clip']}" if row["clip"] != "none" else ""
    return f"{row['profile'] or row['network']}{clipped}"


def _one(row: pd.Series) -> str:
    """`GRU vanishes: × 0.654 a step, heard 13 of 200 steps back.`"""
    known = []
    if math.isfinite(row["decades_per_step"]):
        known.append(f"× {significant(10 ** row['decades_per_step'])} a step")
    if math.isfinite(row["horizon"]):
        known.append(f"heard {_heard(row)} steps back")
    return f"{_label(row)} {VERBS[row['verdict']][0]}{': ' if known else ''}{', '.join(known)}."


def short(row: pd.Series) -> str:
    """`vanishing, 13 of 200 steps back`."""
    return f"{row['verdict']}{'' if row['verdict'] == 'none' else f', {_heard(row)} steps back'}"


def _heard(row: pd.Series) -> str:
    """`13 of 200`, `all 200`."""
    last = int(row["steps"]) - 1
    return f"all {last}" if row["horizon_is_censored"] else f"{row['horizon']:.0f} of {last}"


def _many(rows: pd.DataFrame) -> str:
    """Several profiles of one network in a line: from the smallest figure to the largest."""
    known = [f"× {_range(10 ** rows['decades_per_step'], significant)} a step"]
    if rows["horizon"].notna().all():
        last = int(rows["steps"].max()) - 1
        some = f"{_range(rows['horizon'], '{:.0f}'.format)} of {last}"
        known.append(f"heard {f'all {last}' if _hears_all(rows).all() else some} steps back")
    verb = VERBS[rows["verdict"].iloc[0]][1]
    return f"{_label(rows.iloc[0])} and {len(rows) - 1} others {verb}: {', '.join(known)}."


def _range(values: pd.Series, shown: Callable[[float], str]) -> str:
    low, high = shown(values.min()), shown(values.max())
    return low if low == high else f"{low} to {high}"


def _problems(lengths: pd.DataFrame) -> list[str]:
    failed = lengths[lengths["problem"] != ""].drop_duplicates("network")
    return [
        f"No norm of {row['network']} at T = {row['length']}: {row['problem']}." for _, row in failed.iterrows()
    ]


def _lengths(frame: pd.DataFrame) -> list[str]:
    """What a longer sequence does to the gradients at the first step and of the parameters."""
    rows = frame[frame["problem"] == ""].drop_duplicates(["network", "length"])
    said = []
    for network, part in rows.groupby("network", sort=False):
        first, last = part.iloc[0], part.iloc[-1]
        if len(part) > 1 and math.isfinite(last["log10_first"]):
            said.append(
                f"From T = {first['length']} to {last['length']} the gradient of {network} at the first step changes "
                f"by {_change(first['log10_first'], last['log10_first'])} decades, that of its parameters by "
                f"{_change(first['log10_unclipped'], last['log10_unclipped'])}."
            )
    return said


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
            said.append(f"Plain float32 autograd fails in {network}: {', '.join(failures)}.")
    return said


def _failures(rows: pd.DataFrame, reported: str, exact: str, place: str) -> list[str]:
    """`first step zero from T = 100 on`."""
    known = rows[rows[f"has_{reported}"]]
    norms = known[reported]
    kinds = {"zero": (norms == 0) & (known[exact] > -math.inf), "inf": norms == math.inf, "NaN": norms.isna()}
    return [
        f"{place} {word} from T = {known['length'][where].min()} on"
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
