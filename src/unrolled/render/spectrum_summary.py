"""A spectrum study in words, from its tidy tables: the answer, a line for each network, and the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from unrolled.render.spectrum_tables import nats
from unrolled.render.text import listed, significant

MANY = 6  # more networks or systems than that are summed up, not named one by one
AFTER = 100  # the lag at which surviving directions are counted, if it was measured
DRIVES = {"noise": " with noise", "zero": " without input", "given": ""}
VERBS = {"chaotic": "is chaotic", "neutral": "is neutral", "forgetting": "forgets"}


def spectrum_summary(
    table: pd.DataFrame,
    carrying: pd.DataFrame,
    transitions: pd.DataFrame,
    notes: Sequence[str] = (),
    explain: bool = False,
) -> str:
    """The answer in a line, then a line for each network and for what could not be measured.

    With `explain` also what noise does, how well theory holds, what survives, and where chaos begins.
    """
    lines = [*([answer(table)] if len(table) else []), *network_lines(table)]
    lines += [f"{note.rstrip('.')}." for note in notes]
    return "\n".join([*lines, *explained(table, carrying, transitions)] if explain or not len(table) else lines)


def explained(table: pd.DataFrame, carrying: pd.DataFrame, transitions: pd.DataFrame) -> list[str]:
    """What noise does to chaos, how well theory holds, how many directions survive, where order ends."""
    known = _known(table)
    return [*_noise(known), *_theory(known), *_survivors(carrying), *_transitions(transitions)]


def answer(table: pd.DataFrame) -> str:
    """Which networks are chaotic, or what the one network does."""
    known = _known(table)
    if known.empty:
        return f"No spectrum of {listed(list(table['network'].unique()))}: NaN or inf."
    names = list(table["network"].unique())
    if len(names) == 1:
        return _answer_of_one(known)
    chaotic = known[known["dynamics"] == "chaotic"]
    if chaotic.empty:
        last = known.loc[known["largest"].idxmax()]
        return (
            f"None of {len(names)} networks is chaotic; the largest exponent is that of {_name(last)}: "
            f"{nats(last['largest'])} nats a step."
        )
    which = [
        network + _under(rows["drive"], known.loc[known["network"] == network, "drive"])
        for network, rows in chaotic.groupby("network", sort=False)
    ]
    return (
        f"{len(which)} of {len(names)} networks {'is' if len(which) == 1 else 'are'} chaotic: {listed(which)}."
    )


def _under(drives: pd.Series, of: pd.Series) -> str:
    """Under which inputs, where it is not so under all."""
    few = set(drives) != set(of)
    return " and".join(DRIVES[drive] for drive in drives.unique()) if few else ""


def _answer_of_one(known: pd.DataFrame) -> str:
    """By the system whose largest exponent is the largest of all."""
    most = known.loc[known["largest"].idxmax()]
    network = most["network"] or "The network"
    by = f", in {most['profile']}" if known["profile"].nunique() > 1 else ""
    return f"{network} {VERBS[most['dynamics']]}{DRIVES[most['drive']]}: {_figures(most)}{by}."


def _known(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["problem"] == ""] if len(table) else table


def _name(row: pd.Series) -> str:
    return f"{row['profile'] or row['network']}{DRIVES[row['drive']]}"


def _figures(row: pd.Series) -> str:
    """`λ₁ = +0.139 nats a step, 13.2 of 64 directions grow`; `half of a change is gone after 1.35 steps`."""
    if row["dynamics"] == "forgetting":
        if row["largest"] == -math.inf:
            return "a change is lost for good"
        return f"half of a change is gone after {significant(row['half_life'])} steps"
    words = f"λ₁ = {nats(row['largest'])} nats a step"
    if row["dynamics"] == "neutral":
        return words
    return f"{words}, {_count(row['above_zero'])} of {row['size']:.0f} directions grow"


def network_lines(table: pd.DataFrame) -> list[str]:
    """A line for each network, or for each system of the one network; many systems that are alike share one."""
    known = _known(table)
    lines = []
    if len(known) and known["profile"].any() and len(known) > MANY:
        lines += [_many(word, alike) for word, alike in known.groupby("dynamics", sort=False)]
    elif len(known):
        lines += [_one(rows) for _, rows in known.groupby(["network", "profile"], sort=False)]
    if len(table):
        for problem, rows in table[table["problem"] != ""].groupby("problem", sort=False):
            lines.append(f"No spectrum of {listed([_name(row) for _, row in rows.iterrows()])}: {problem}.")
    return lines


def _one(rows: pd.DataFrame) -> str:
    """`GRU forgets: half is gone after 1.64 steps with noise, 1.67 without input.`"""
    name = rows["profile"].iloc[0] or rows["network"].iloc[0] or "The network"
    kinds = rows.groupby("dynamics", sort=False)
    said = [f"{VERBS[str(word)]}: {_figure_of_each(alike)}" for word, alike in kinds]
    return f"{name} {'; '.join(said)}."


def _figure_of_each(alike: pd.DataFrame) -> str:
    """Under each of the inputs, the words once."""
    if (alike["dynamics"] == "forgetting").all():
        first, *rest = [significant(steps) if steps else "0" for steps in alike["half_life"]]
        words, figures = "half is gone after ", [f"{first} steps", *rest]
    else:
        words, figures = "λ₁ ", [nats(value) for value in alike["largest"]]
    return words + ", ".join(f + DRIVES[drive] for f, drive in zip(figures, alike["drive"], strict=True))


def _many(word: object, alike: pd.DataFrame) -> str:
    low, high = nats(alike["largest"].min()), nats(alike["largest"].max())
    return f"{len(alike)} systems of {alike['network'].iloc[0]}: {word}, λ₁ from {low} to {high} nats a step."


def _noise(rows: pd.DataFrame) -> list[str]:
    """What noise does to networks that are chaotic with or without it."""
    sentences = []
    for _, part in rows.groupby(["network", "profile"], sort=False) if len(rows) else ():
        by_drive = {row["drive"]: row for _, row in part.iterrows()}
        if not {"noise", "zero"} <= set(by_drive):
            continue
        zero, noise = by_drive["zero"], by_drive["noise"]
        if "chaotic" in (zero["dynamics"], noise["dynamics"]):
            name = zero["profile"] or zero["network"]
            sentences.append(
                f"Noise takes λ₁ of {name} from {nats(zero['largest'])} to {nats(noise['largest'])} nats a step."
            )
    return sentences


def _theory(rows: pd.DataFrame) -> list[str]:
    """The largest difference between measured exponents and each theory."""
    sentences = []
    for theory, part in (
        rows[rows["difference"].notna()].groupby("theory_name", sort=False) if len(rows) else ()
    ):
        off = part["difference"].abs()
        shown = f"{off.max():.0e}" if off.max() < 5e-4 else f"{off.max():.3f}"
        unit = "row" if len(part) == 1 else "rows"
        where = "" if len(part) == 1 else f", most in {_name(part.loc[off.idxmax()])}"
        sentences.append(f"Theory ({theory}) holds within {shown} nats a step in {len(part)} {unit}{where}.")
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
            off = f"; it is at most {row['largest_difference']:.3f} nats a step from theory"
        sentences.append(f"λ₁ of {row['network']}{DRIVES[row['drive']]} {crosses}{theory}{off}.")
    return sentences


def _count(value: float) -> str:
    """A mean of whole numbers: `7`, `7.2`."""
    return f"{value:.1f}".removesuffix(".0")
