"""A spectrum study in one paragraph, from its tidy tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from unrolled.render.spectrum_tables import nats
from unrolled.render.text import significant

MANY = 6  # more networks or systems than that are summed up, not named one by one
AFTER = 100  # the lag at which surviving directions are counted, if it was measured
DRIVES = {"noise": " with noise", "zero": " without input", "given": ""}


def spectrum_summary(
    table: pd.DataFrame, carrying: pd.DataFrame, transitions: pd.DataFrame, notes: Sequence[str] = ()
) -> str:
    """Which networks are chaotic or forget, what noise does, how well theory holds, what survives, where chaos is."""
    known = table[table["problem"] == ""]
    sentences = [*_dynamics(known), *_noise(known), *_theory(known)] if len(known) else []
    sentences += [*_survivors(carrying), *_transitions(transitions)]
    for problem, rows in table[table["problem"] != ""].groupby("problem", sort=False):
        sentences.append(f"No spectrum of {' and '.join(_name(row) for _, row in rows.iterrows())}: {problem}.")
    return " ".join([*sentences, *(f"{note.rstrip('.')}." for note in notes)])


def _name(row: pd.Series) -> str:
    return f"{row['profile'] or row['network']}{DRIVES[row['drive']]}"


def _chaotic(row: pd.Series) -> str:
    words = f"λ₁ {nats(row['largest'])}, {_count(row['above_zero'])} of {row['size']:.0f} directions grow"
    if math.isfinite(row["kaplan_yorke"]):
        words += f", dimension {significant(row['kaplan_yorke'])}"
    return words


def _forgetting(row: pd.Series) -> str:
    if row["largest"] == -math.inf:
        return "lost for good"
    return f"half-life {significant(row['half_life'])}"


DYNAMICS: dict[str, tuple[str, Callable[[pd.Series], str]]] = {
    "chaotic": ("Chaotic", _chaotic),
    "neutral": ("Neither growing nor shrinking", lambda row: f"λ₁ {nats(row['largest'])}"),
    "forgetting": ("Forgetting", _forgetting),
}


def _dynamics(rows: pd.DataFrame) -> list[str]:
    """One sentence for each kind of dynamics."""
    sentences = []
    for word, (phrase, detail) in DYNAMICS.items():
        alike = rows[rows["dynamics"] == word]
        if alike["profile"].any() and len(alike) > MANY:
            low, high = nats(alike["largest"].min()), nats(alike["largest"].max())
            sentences.append(
                f"{phrase}: {len(alike)} systems of {alike['network'].iloc[0]} (λ₁ {low} to {high})."
            )
            continue
        named = []
        for (network, profile), part in alike.groupby(["network", "profile"], sort=False):
            details = [f"{detail(row)}{DRIVES[row['drive']]}" for _, row in part.iterrows()]
            joined = "; ".join(details).replace("; half-life", ",")  # the word once is enough
            named.append(f"{profile or network} ({joined})")
        if named:
            sentences.append(f"{phrase}: {', '.join(named)}.")
    return sentences


def _noise(rows: pd.DataFrame) -> list[str]:
    """What noise does to networks that are chaotic with or without it."""
    sentences = []
    for _, part in rows.groupby(["network", "profile"], sort=False):
        by_drive = {row["drive"]: row for _, row in part.iterrows()}
        if not {"noise", "zero"} <= set(by_drive):
            continue
        zero, noise = by_drive["zero"], by_drive["noise"]
        if "chaotic" in (zero["dynamics"], noise["dynamics"]):
            name = zero["profile"] or zero["network"]
            sentences.append(
                f"Noise takes λ₁ of {name} from {nats(zero['largest'])} to {nats(noise['largest'])}."
            )
    return sentences


def _theory(rows: pd.DataFrame) -> list[str]:
    """The largest difference between measured exponents and each theory."""
    sentences = []
    for theory, part in rows[rows["difference"].notna()].groupby("theory_name", sort=False):
        off = part["difference"].abs()
        shown = f"{off.max():.0e}" if off.max() < 5e-4 else f"{off.max():.3f}"
        unit = "row" if len(part) == 1 else "rows"
        where = "" if len(part) == 1 else f", most in {_name(part.loc[off.idxmax()])}"
        sentences.append(f"Theory ({theory}) holds within {shown} in {len(part)} {unit}{where}.")
    return sentences


def _survivors(carrying: pd.DataFrame) -> list[str]:
    """How many directions still carry a change after some steps."""
    if carrying.empty:
        return []
    lags = carrying["lag"].unique()
    lag = AFTER if AFTER in lags else max(lags)
    rows = carrying[carrying["lag"] == lag]
    alive = rows[rows["carrying"] > 0]
    steps = f"{lag} {'step' if lag == 1 else 'steps'}"
    if alive.empty:
        return [f"After {steps} no direction carries 1/1000 of what went in."]
    left = alive["carrying"] * alive["size"]
    if len(alive) > MANY:
        named = f"{len(alive)} of {len(rows)} rows ({_count(left.min())} to {_count(left.max())})"
    else:
        named = ", ".join(
            f"{_name(row)} ({_count(count)} of {row['size']})"
            for count, (_, row) in zip(left, alive.iterrows(), strict=True)
        )
    rest = "; none in the others" if len(alive) < len(rows) else ""
    return [f"After {steps} directions that carry 1/1000 of what went in are left in {named}{rest}."]


def _transitions(rows: pd.DataFrame) -> list[str]:
    """The gains at which order ends."""
    sentences = []
    for _, row in rows.iterrows():
        crosses = "does not cross 0 at these gains"
        if math.isfinite(row["measured"]):
            crosses = f"crosses 0 at gain {row['measured']:.2f}"
        theory = f" (mean field: {row['theory']:.2f})" if math.isfinite(row["theory"]) else ""
        off = ""
        if math.isfinite(row["largest_difference"]):
            off = f"; it is at most {row['largest_difference']:.3f} from theory"
        sentences.append(f"λ₁ of {row['network']}{DRIVES[row['drive']]} {crosses}{theory}{off}.")
    return sentences


def _count(value: float) -> str:
    """A mean of whole numbers: `7`, `7.2`."""
    return f"{value:.1f}".removesuffix(".0")
