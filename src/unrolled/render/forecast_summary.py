"""A study in one paragraph, from its tidy frames: what clipping did, and what it could not do."""

from __future__ import annotations

import math

import pandas as pd

from unrolled.render.text import percent, significant

WORDS = {
    "converged": "converged",
    "not converged": "did not converge",
    "spiked": "spiked",
    "diverged": "diverged",
}


def summary(table: pd.DataFrame, runs: pd.DataFrame, reach: pd.DataFrame) -> str:
    """What clipping was worth, what became of each variant, what each clip did, and how the reach changed."""
    parts = (_worth(table), _outcomes(table), _problems(runs), _clips(table), _loops(table), _reach(reach))
    return " ".join(sentence for part in parts for sentence in part)


def _worth(table: pd.DataFrame) -> list[str]:
    """Whether clipping decided if training converged, for each network trained both with and without."""
    said = []
    for network, part in table.groupby("network", sort=False):
        without, clipped = part[part["clip"] == "none"], part[part["clip"] != "none"]
        if without.empty or clipped.empty:
            continue
        before = without.iloc[0]["converged"]
        best = clipped.loc[clipped["converged"].idxmax()]
        if not (clipped["fired"] > 0).any():
            said.append(f"Clipping does nothing for {network}; a case where it matters is --preset explode.")
        elif best["converged"] == before:
            said.append(
                f"Clipping makes no difference to whether {network} converges: {_count(best)} with "
                f"{best['clip']}, {before} without."
            )
        else:
            word = "helps" if best["converged"] > before else "harms"
            said.append(
                f"Clipping {word} {network}: {_count(best)} converged with {best['clip']}, {before} without."
            )
    return said


def _count(row: pd.Series[int]) -> str:
    return f"{row['converged']} of {row['seeds']} seed{'' if row['seeds'] == 1 else 's'}"


def _outcomes(table: pd.DataFrame) -> list[str]:
    """`RNN tanh, no clip: diverged (8 of 10 seeds), converged (2).`"""
    said = []
    for row in table.to_dict("records"):
        counts = {word: row[name] for name, word in WORDS.items() if row[name]}
        if row["seeds"] == 1:
            said.append(f"{label(row)}: {', '.join(counts)}.")
            continue
        shares = [f"{count} of {row['seeds']} seeds {word}" for word, count in counts.items()]
        said.append(f"{label(row)}: {', '.join(shares)}.")
    return said


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
