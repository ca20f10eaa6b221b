"""A spectrum study in one paragraph, from its tidy frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from unrolled.output.spectrum_tables import nats
from unrolled.output.text import significant

MANY = 6  # networks or systems that are said one by one
AFTER = 100  # steps after which surviving directions are counted, where the lags have it
DRIVES = {"noise": " with noise", "zero": " without input", "given": ""}


def spectrum_summary(
    table: pd.DataFrame, carrying: pd.DataFrame, transitions: pd.DataFrame, notes: Sequence[str] = ()
) -> str:
    """What is chaotic, what forgets, what noise does, where theory holds, what survives, where chaos begins."""
    known = table[table["problem"] == ""]
    said = [*_dynamics(known), *_noise(known), *_theory(known)] if len(known) else []
    said += [*_survivors(carrying), *_transitions(transitions)]
    for problem, rows in table[table["problem"] != ""].groupby("problem", sort=False):
        said.append(f"No spectrum of {' and '.join(_name(row) for _, row in rows.iterrows())}: {problem}.")
    return " ".join([*said, *(f"{note.rstrip('.')}." for note in notes)])


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
    """The three kinds of dynamics, by the largest exponent."""
    said = []
    for word, (phrase, detail) in DYNAMICS.items():
        some = rows[rows["dynamics"] == word]
        if some["profile"].any() and len(some) > MANY:
            low, high = nats(some["largest"].min()), nats(some["largest"].max())
            said.append(f"{phrase}: {len(some)} systems of {some['network'].iloc[0]} (λ₁ {low} to {high}).")
            continue
        named = []
        for (network, profile), part in some.groupby(["network", "profile"], sort=False):
            details = [f"{detail(row)}{DRIVES[row['drive']]}" for _, row in part.iterrows()]
            alike = "; ".join(details).replace("; half-life", ",")  # once is enough
            named.append(f"{profile or network} ({alike})")
        if named:
            said.append(f"{phrase}: {', '.join(named)}.")
    return said


def _noise(rows: pd.DataFrame) -> list[str]:
    """What noise does to what is chaotic with or without it."""
    said = []
    for _, part in rows.groupby(["network", "profile"], sort=False):
        by_drive = {row["drive"]: row for _, row in part.iterrows()}
        if not {"noise", "zero"} <= set(by_drive):
            continue
        zero, noise = by_drive["zero"], by_drive["noise"]
        if "chaotic" in (zero["dynamics"], noise["dynamics"]):
            name = zero["profile"] or zero["network"]
            said.append(f"Noise takes λ₁ of {name} from {nats(zero['largest'])} to {nats(noise['largest'])}.")
    return said


def _theory(rows: pd.DataFrame) -> list[str]:
    """How far what was measured is from what was known beforehand."""
    said = []
    for theory, part in rows[rows["difference"].notna()].groupby("theory_name", sort=False):
        off = part["difference"].abs()
        shown = f"{off.max():.0e}" if off.max() < 5e-4 else f"{off.max():.3f}"
        where = "" if len(part) == 1 else f", most in {_name(part.loc[off.idxmax()])}"
        said.append(f"Theory ({theory}) holds within {shown} in {len(part)} row{'s' * (len(part) > 1)}{where}.")
    return said


def _survivors(carrying: pd.DataFrame) -> list[str]:
    """How many directions are left after some steps."""
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
    """Where order ends over gain."""
    said = []
    for _, row in rows.iterrows():
        crosses = "does not cross 0 at these gains"
        if math.isfinite(row["measured"]):
            crosses = f"crosses 0 at gain {row['measured']:.2f}"
        theory = f" (mean field: {row['theory']:.2f})" if math.isfinite(row["theory"]) else ""
        off = ""
        if math.isfinite(row["largest_difference"]):
            off = f"; it is at most {row['largest_difference']:.3f} from theory"
        said.append(f"λ₁ of {row['network']}{DRIVES[row['drive']]} {crosses}{theory}{off}.")
    return said


def _count(value: float) -> str:
    """A mean of whole numbers: `7`, `7.2`."""
    return f"{value:.1f}".removesuffix(".0")
