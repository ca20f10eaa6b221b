"""A study of trainings in words, from its tidy frames: what clipping was worth, a line for each variant, the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from unrolled.render.text import counted, listed, percent, significant

WORDS = {
    "converged": "converged",
    "not converged": "did not converge",
    "spiked": "spiked",
    "diverged": "diverged",
}
SAME = "makes no difference to"


def summary(table: pd.DataFrame, runs: pd.DataFrame, reach: pd.DataFrame, explain: bool = False) -> str:
    """The answer in a line, then a line for each variant; with `explain` also clips, closed loop and reach."""
    lines = [answer(table), *_outcomes(table), *_problems(runs)]
    return "\n".join([*lines, *explained(table, reach)] if explain else lines)


def explained(table: pd.DataFrame, reach: pd.DataFrame) -> list[str]:
    """What clipping was worth to each of several networks, what each clip did, the closed loop, the reach."""
    worth = _worth(table)
    return [*(worth if len(worth) > 1 else []), *_clips(table), *_loops(table), *_reach(reach)]


def answer(table: pd.DataFrame) -> str:
    """What clipping was worth to the one network, or to which; where nothing was compared, what converged."""
    effects = list(_effects(table))
    if len(effects) == 1:
        ((_, _, sentence),) = effects
        return sentence
    if effects:
        by_verb: dict[str, list[str]] = {}
        for network, verb, _ in effects:
            by_verb.setdefault(verb, []).append(network)
        return f"Clipping {', '.join(f'{verb} {listed(names)}' for verb, names in by_verb.items())}."
    trainings, named = counted(table["seeds"].sum(), "training"), table[table["converged"] > 0]
    if named.empty:
        return f"None of {trainings} converged."
    return f"{named['converged'].sum()} of {trainings} converged: {listed(list(map(label, named.to_dict('records'))))}."


def _worth(table: pd.DataFrame) -> list[str]:
    """Whether clipping decided if training converged, for each network trained both with and without."""
    return [sentence for _, _, sentence in _effects(table)]


def _effects(table: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Each network trained both with and without a clip, what clipping does to it, and that in a sentence."""
    for network, part in table.groupby("network", sort=False):
        without, clipped = part[part["clip"] == "none"], part[part["clip"] != "none"]
        if len(without) and len(clipped):
            verb, why = _effect(without.iloc[0]["converged"], clipped)
            whom = f"whether {network} converges" if verb == SAME else str(network)
            yield str(network), verb, f"Clipping {verb} {whom}: {why}."


def _effect(without: int, clipped: pd.DataFrame) -> tuple[str, str]:
    """By how many seeds converged without a clip, and under the best one."""
    best = clipped.loc[clipped["converged"].idxmax()]
    if not (clipped["fired"] > 0).any():
        return "does nothing for", "it never fires; a case where it matters is --preset explode"
    if best["converged"] == without:
        return SAME, f"{_count(best)} with {best['clip']}, {without} without"
    verb = "helps" if best["converged"] > without else "harms"
    return verb, f"{_count(best)} converged with {best['clip']}, {without} without"


def _count(row: pd.Series[int]) -> str:
    return f"{row['converged']} of {counted(row['seeds'], 'seed')}"


def _outcomes(table: pd.DataFrame) -> list[str]:
    """`RNN tanh, no clip: 8 of 10 seeds diverged, 2 of 10 seeds converged.`, and whether the clip ever fired."""
    said = []
    for row in table.to_dict("records"):
        counts = {word: row[name] for name, word in WORDS.items() if row[name]}
        shares = [f"{count} of {row['seeds']} seeds {word}" for word, count in counts.items()]
        ended = ", ".join(counts if row["seeds"] == 1 else shares)
        fired = (
            "" if row["clip"] == "none" or math.isnan(row["fired"]) else f"; the clip {_fired(row['fired'])}"
        )
        said.append(f"{label(row)}: {ended}{fired}.")
    return said


def _fired(share: float) -> str:
    return f"fired in {percent(share)} of iterations" if share else "never fired"


def label(row: dict[str, object]) -> str:
    """The network and the clip."""
    return f"{row['network']}, {'no clip' if row['clip'] == 'none' else row['clip']}"


def _problems(runs: pd.DataFrame) -> list[str]:
    """Where the first run of each variant that met NaN or inf met it."""
    stopped = runs[runs["problem"] != ""].drop_duplicates(["network", "clip"])
    return [
        f"{label(row)}, seed {row['seed']}, met NaN or inf in iteration {row['iterations']} and ends there."
        for row in stopped.to_dict("records")
    ]


def _clips(table: pd.DataFrame) -> list[str]:
    """How often each clip fired; one that never did changed nothing, and that is said plainly."""
    said = []
    for row in table[table["clip"] != "none"].to_dict("records"):
        if row["fired"] > 0:
            turned = (
                "kept its direction"
                if row["cosine"] > 1 - 1e-6
                else f"cosine {row['cosine']:.3f} to the unclipped"
            )
            said.append(
                f"{row['clip']} changed the gradient in {percent(row['fired'])} of iterations ({turned})."
            )
        elif row["fired"] == 0:
            same = ", and the weights are those without it, bit for bit" if row["unchanged"] else ""
            said.append(
                f"{row['clip']} never fired: the largest gradient norm is {significant(row['norm_max'])}{same}."
            )
    return list(dict.fromkeys(said))


def _loops(table: pd.DataFrame) -> list[str]:
    """The error of the closed loop, for the first variant that did not diverge."""
    for row in table[table["diverged"] < table["seeds"]].to_dict("records"):
        if math.isfinite(row["rmse"]) and math.isfinite(row["rmse_warm"]):
            return [
                f"In a closed loop that begins with the state training left, {label(row)} is off by "
                f"{significant(row['rmse'])} (RMSE) after one true point, by {significant(row['rmse_warm'])} "
                "after a warm-up."
            ]
    return []


def _reach(reach: pd.DataFrame) -> list[str]:
    """The horizon at the start and at the end, for each network's first variant and seed."""
    said: list[str] = []
    if reach.empty:
        return said
    for network, part in reach.groupby("network", sort=False):
        first = part[(part["clip"] == part["clip"].iloc[0]) & (part["seed"] == part["seed"].iloc[0])]
        top = first[(first["layer"] == first["layer"].max()) & (first["path"] == "h")]
        by_mark = {mark: rows.sort_values("lag") for mark, rows in top.groupby("iteration")}
        if len(by_mark) < 2:
            continue
        begin, *_, end = by_mark
        before, after = _steps(by_mark[begin]), _steps(by_mark[end])
        at_end = f"{'and' if before == after else after} after {end} iterations"
        said.append(f"The gradient of {network} reaches {before} back at the start, {at_end}.")
    return said


def _steps(profile: pd.DataFrame) -> str:
    norm = profile["log10_norm"].to_numpy()
    reached = int((norm - norm[0] >= -3).nonzero()[0][-1]) if math.isfinite(norm[0]) else 0
    least = "at least " if reached == len(norm) - 1 else ""
    return f"{least}{reached} step{'s' * (reached != 1)}"
