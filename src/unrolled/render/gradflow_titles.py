"""What the plots of a gradient-flow study show, each in a sentence worked out from what is drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from unrolled.render.text import counted, listed, signed, span

if TYPE_CHECKING:
    import pandas as pd

HORIZON = -3  # decades: 1/1000 of the norm at lag 0
FEW = 2  # networks that a title names; of more it gives the number


def reach_title(lines: dict[str, pd.DataFrame], flow: pd.DataFrame, untrained: bool = False) -> str:
    """How far back 1/1000 of the gradient at lag 0 is left, and where the gradient explodes."""
    if not lines:
        return "No gradient reaches a hidden state"
    norms = {name: part["log10_norm"].to_numpy() - part["log10_norm"].iloc[0] for name, part in lines.items()}
    reached = {name: int(np.flatnonzero(norm >= HORIZON)[-1]) for name, norm in norms.items()}
    far = [name for name, norm in norms.items() if reached[name] == len(norm) - 1]
    near = [reached[name] for name in norms if name not in far]
    several = flow["network"].nunique() > 1
    what = "untrained networks" if untrained else "networks"
    what = what if flow["clip"].nunique() == 1 else "profiles"
    what = what if several else f"profiles of {flow['network'].iloc[0]}"
    last = max(len(norm) - 1 for norm in norms.values())
    steps = span(str(min(near)), counted(max(near), "step")) if near and min(near) < max(near) else ""
    steps = steps or (counted(near[0], "step") if near else "")
    if len(norms) == 1:
        name = flow["network"].iloc[0]
        back = f"{counted(last, 'step')} back" if far else f"{steps} back"
        sentence = (
            f"{name}: 1/1000 of the gradient is left {back}" if near else f"{name}: the gradient reaches {back}"
        )
    elif not near:
        sentence = f"All {len(norms)} {what} still hear {counted(last, 'step')} back"
    elif not far:
        sentence = f"1/1000 of the gradient is left {steps} back, in each of {len(norms)} {what}"
    else:
        hear = "hears" if len(far) == 1 else "hear"
        sentence = (
            f"{len(far)} of {len(norms)} {what} still {hear} {counted(last, 'step')} back, the others {steps}"
        )
    return sentence + _explosions(norms)


def _explosions(norms: dict[str, np.ndarray]) -> str:
    """The lines that rise by more than the horizon's factor of 1000."""
    peaks = {name: float(np.nanmax(norm)) for name, norm in norms.items()}
    rising = {name: peak for name, peak in peaks.items() if peak > -HORIZON}
    if not rising:
        return ""
    decades = f"by {span(f'{min(rising.values()):.0f}', f'{max(rising.values()):.0f}')} decades"
    if len(norms) == 1:
        return f", and it grows {decades} on the way"
    who = listed(list(rising)) if len(rising) <= FEW else f"{len(rising)} of them"
    return f"; in {who} the gradient grows {decades}"


def lengths_title(lengths: pd.DataFrame) -> str:
    """What longer sequences do to the gradient at the first step, and what plain float32 makes of it."""
    rows = lengths[lengths["problem"] == ""].drop_duplicates(["network", "length"])
    falls: dict[str, float] = {}
    grows: dict[str, float] = {}
    known = 0
    for network, part in rows.groupby("network", sort=False):
        decades = float(part["log10_first"].iloc[-1] - part["log10_first"].iloc[0])
        known += math.isfinite(decades)
        if math.isfinite(decades) and abs(decades) >= 1:
            (falls if decades < 0 else grows)[str(network)] = abs(decades)
    several = lengths["network"].nunique() > 1
    phrases = []
    for verb, some in (("falls", falls), ("grows", grows)):
        if some:
            ends = span(f"{min(some.values()):.0f}", f"{max(some.values()):.0f}")
            phrases.append(f"{verb} by {ends} decades" + (f" in {len(some)}" if several else ""))
    if (rest := known - len(falls) - len(grows)) > 0:
        phrases.append("stays within a decade" + (f" in {rest}" if several else ""))
    first, last = rows["length"].min(), rows["length"].max()
    where = (
        f"of {counted(lengths['network'].nunique(), 'network')}"
        if several
        else f"of {lengths['network'].iloc[0]}"
    )
    change = f"From T = {first} to {last} the gradient at the first step {where} {', '.join(phrases)}"
    change = change if phrases and first < last else f"At T = {first} the norms {where} are those drawn"
    failing = sum(_fails(part) for _, part in lengths.groupby("network", sort=False))
    if not failing:
        return change
    return f"{change}; plain float32 loses it" + (f" in {failing}" if several else "")


def _fails(part: pd.DataFrame) -> bool:
    """Whether plain float32 gives 0, inf or NaN for a norm that is none of them."""
    known = part[part["problem"] == ""]
    for exact, plain in (("log10_parameters", "float32_parameters"), ("log10_first", "float32_first")):
        norms = known[plain][known[f"has_{plain}"] & np.isfinite(known[exact])]
        if ((norms == 0) | ~np.isfinite(norms)).any():
            return True
    return False


def word(norm: float) -> str:
    """What is no positive number: `0`, `NaN`, `inf`."""
    return "0" if norm == 0 else "NaN" if math.isnan(norm) else "inf"


def layers_title(flow: pd.DataFrame) -> str:
    """By how many decades the gradient changes on its way back, from layer to layer."""
    changes = []
    keys = ["network", "clip", "module", "call", "layer", "direction", "path"]
    for _, part in flow[flow["path"] == flow["path"].iloc[0]].groupby(keys, sort=False):
        norms = part.sort_values("lag")["log10_norm"].to_numpy()
        if len(norms) > 1 and np.isfinite(norms[[0, -1]]).all():
            changes.append(norms[-1] - norms[0])
    layers = counted(int(flow["layer"].max()) + 1, "layer")
    steps = counted(int(flow["lag"].max()), "step")
    if not changes:
        return f"Over {steps} back the gradient of {layers} begins or ends at 0"
    ends = span(signed(min(changes)), signed(max(changes)))
    return f"Over {steps} back the gradient of {layers} changes by {ends} decades"
