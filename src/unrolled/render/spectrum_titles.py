"""What the plots of a spectrum study show, each in a sentence worked out from what is drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from unrolled.render.text import counted, listed, number

if TYPE_CHECKING:
    import pandas as pd

CARRIES = -3  # decades: 1/1000 of what went in
INPUTS = {"noise": "with noise", "zero": "without input", "given": "with the input given"}
VERDICTS = {  # of one, and of several
    "chaotic": ("is chaotic", "are chaotic"),
    "forgetting": ("forgets", "forget"),
    "neutral": ("neither grows nor shrinks", "neither grow nor shrink"),
}
FEW = 2  # networks that a title names; of more it gives the number


def spectrum_title(table: pd.DataFrame, untrained: bool = False) -> str:
    """How many networks, or layers of one, are chaotic, forget, or do neither, under each input."""
    known = table[table["problem"] == ""] if "problem" in table else table
    said: list[str] = []
    before: list[int] = []
    for drive, rows in known.groupby("drive", sort=False):
        words, how = list(rows["dynamics"]), INPUTS[drive]
        if len(rows) == 1:
            name = str(rows["profile"].iloc[0] or rows["network"].iloc[0])
            verdict = f"{VERDICTS[words[0]][0]} {how} (λ₁ = {rows['largest'].iloc[0]:+.3g})"
            said.append(verdict if said else f"{name} {verdict}")
            continue
        counts = [words.count(word) for word in VERDICTS]
        said.append(f"as many {how}" if counts == before else _counts(rows, how, untrained, first=not said))
        before = counts
    return "; ".join(said).replace("-", "−") if said else "No spectrum is finite"


def _counts(rows: pd.DataFrame, how: str, untrained: bool, first: bool) -> str:
    """`With noise 1 of 8 networks is chaotic (RNN orthogonal ×2), 5 forget`."""
    phrases: list[str] = []
    for word, verbs in VERDICTS.items():
        names = [str(name) for name in (rows["profile"] + "|" + rows["network"])[rows["dynamics"] == word]]
        if not names:
            continue
        phrase = f"{len(names)}"
        if first and not phrases:
            every = len(names) == len(rows)
            phrase = f"all {len(rows)}" if every else f"{len(names)} of {len(rows)}"
            phrase += f" {_what(rows, untrained)}"
        phrase += f" {verbs[len(names) > 1]}"
        if first and word == "chaotic" and len(names) <= FEW:
            phrase += f" ({listed([name.split('|')[0] or name.split('|')[1] for name in names])})"
        phrases.append(phrase)
    return f"{how.capitalize() if first else how} {', '.join(phrases)}"


def _what(rows: pd.DataFrame, untrained: bool) -> str:
    if rows["profile"].any():
        return f"parts of {rows['network'].iloc[0]}"
    return "untrained networks" if untrained else "networks"


def fan_title(fan: pd.DataFrame) -> str:
    """Where 1/1000 of a change to the state is left after the longest lag, in its best direction."""
    last = int(fan["lag"].max())
    best = fan[(fan["lag"] == last)].groupby(["network", "profile"], sort=False)["log10_singular_value"].max()
    alive = [str(profile or network) for (network, profile), value in best.items() if value >= CARRIES]
    after = f"After {counted(last, 'step')}"
    if len(best) == 1:
        (value,) = best
        left = number(float(value)) if math.isfinite(value) else "nothing"
        return f"{after} at most {left} of a change to the state is left"
    what = "parts" if fan["profile"].any() else "networks"
    who = f" ({listed(alive)})" if 0 < len(alive) <= FEW and len(alive) < len(best) else ""
    return f"{after} 1/1000 of some change to the state is left in {len(alive)} of {len(best)} {what}{who}"


def gain_title(transitions: pd.DataFrame) -> str:
    """The gains at which chaos begins, measured and in theory."""
    said = []
    for row in transitions.to_dict("records"):
        theory = f" (mean field: {row['theory']:.2f})" if math.isfinite(row["theory"]) else ""
        if math.isfinite(row["measured"]):
            said.append(f"at gain {row['measured']:.2f} {INPUTS[row['drive']]}{theory}")
        else:
            said.append(f"at none of these gains {INPUTS[row['drive']]}{theory}")
    return f"Chaos begins {', '.join(said)}" if said else "The largest exponent over gain"
