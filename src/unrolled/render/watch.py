"""What was seen of a training: how far back its gradient was heard, pass by pass, and what looking cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.text import Text

from unrolled.render.columns import below, compact_table
from unrolled.render.gradflow_summary import farthest, short
from unrolled.render.gradflow_tables import STYLES, decades
from unrolled.render.gradient_flow import reach_of
from unrolled.render.text import counted

if TYPE_CHECKING:
    from rich.console import Console, Group

    from unrolled.gradients.clipping.beside import ClipBeside
    from unrolled.gradients.clipping.report import ClipReport
    from unrolled.gradients.watch import Seen, Watch

MOST = 16  # passes that are listed


def history(watched: Watch) -> pd.DataFrame:
    """A row per recorded pass: its profile that hears farthest, the norm of the gradient, and any problem."""
    return pd.DataFrame([_row(seen) for seen in watched.history])


def _row(seen: Seen) -> dict[str, Any]:
    row: dict[str, Any] = {"backward": seen.backward, "problem": seen.problem or "", "log10_norm": math.nan}
    if seen.flow is None:
        return {**row, "verdict": "", "horizon": math.nan}
    return {**row, "log10_norm": seen.flow.log10_norm} | {
        name: value for name, value in farthest(reach_of(seen.flow)).items() if name != "problem"
    }


def answer(watched: Watch) -> str:
    """Where the gradient is heard now, and was at first."""
    frame = history(watched)
    known = frame[frame["verdict"] != ""] if len(frame) else frame
    if known.empty:
        return (
            "No gradient has been seen yet."
            if frame.empty
            else f"No gradient was seen: {frame['problem'].iloc[-1]}."
        )
    first, last = known.iloc[0], known.iloc[-1]
    if last["verdict"] == "none":
        return f"No gradient comes back to {last['profile']} in backward pass {last['backward']}."
    said = f"The gradient is heard {_steps(last)} back in backward pass {last['backward']}"
    if len(known) == 1 or math.isnan(first["horizon"]):
        return f"{said}."
    return f"{said}, {'as' if _steps(first) == _steps(last) else _steps(first)} in the first."


def _steps(row: Any) -> str:
    return (
        counted(row["horizon"], "step") if not row["horizon_is_censored"] else f"all {row['steps'] - 1} steps"
    )


def cost(watched: Watch) -> str:
    """`20 of 400 backward passes recorded; it took 0.2 s of 3.1 s, 6.5% of the loop's time`."""
    elapsed = watched.elapsed
    share = watched.seconds / elapsed if elapsed > 0 else 0.0
    return (
        f"{len(watched.history)} of {watched.backwards} backward passes recorded; it took {watched.seconds:.2g} s of "
        f"{elapsed:.3g} s, {share:.1%} of the loop's time"
    )


def line(watched: Watch) -> str:
    """`vanishing, 13 of 200 steps back; 20 of 400 backward passes recorded`."""
    seen = [each.flow for each in watched.history if each.flow is not None]
    now = f"{short(farthest(reach_of(seen[-1])))}; " if seen else ""
    return f"{now}{len(watched.history)} of {watched.backwards} backward passes recorded"


def show(watched: Watch, screen: Console) -> None:
    """The answer, the passes, and what looking cost."""
    screen.print(answer(watched), markup=False)
    frame = history(watched)
    if len(frame):
        screen.print()
        screen.print(_table(frame, watched))
        screen.print()
    if watched.clip is not None:
        screen.print(clipped(watched.clip), markup=False)
    screen.print(f"watch: {cost(watched)}.")


def clipped(clip: ClipBeside) -> str:
    """`zclip:2.5 would have changed the gradient in 3 of 400 backward passes, to 0.12 of its norm at the least.`"""
    passes = "backward passes" if clip.remembers else "recorded backward passes"
    said = f"{clip.clip} would have changed the gradient in {clip.changed} of {len(clip.reports)} {passes}"
    shares = [report.log10_after - report.log10_before for report in clip.reports.values() if report.entries]
    return f"{said}, to {10 ** min(shares):.2g} of its norm at the least." if shares else f"{said}."


def _table(frame: pd.DataFrame, watched: Watch) -> Group:
    title = "Reach while it trains"
    if len(frame) > MOST:
        title += f": {MOST} of {len(frame)} recorded passes; .frame() has all"
        frame = frame.iloc[[round(k * (len(frame) - 1) / (MOST - 1)) for k in range(MOST)]]
    table = compact_table("")
    table.add_column("backward\npass", justify="right")
    table.add_column("verdict")
    table.add_column("horizon,\nsteps", justify="right")
    table.add_column("slope,\ndecades/step", justify="right")
    table.add_column("farthest\nprofile")
    table.add_column("all parameters,\nlog10 of norm", justify="right")
    clip = watched.clip
    if clip is not None:
        table.add_column(f"with {clip.clip},\nlog10 of norm", justify="right")
    problems = bool((frame["problem"] != "").any())
    if problems:
        table.add_column("problem")
    for row in frame.to_dict("records"):
        horizon = (
            "–"
            if math.isnan(row["horizon"])
            else f"{row['horizon']:.0f}{'+' * bool(row['horizon_is_censored'])}"
        )
        table.add_row(
            Text(f"{row['backward']}"),
            Text(row["verdict"] or "–", style=STYLES.get(row["verdict"], "")),
            Text(horizon),
            Text(decades(row.get("decades_per_step", math.nan), 3)),
            Text(str(row["profile"]) if row["verdict"] else "–"),
            Text(decades(row["log10_norm"])),
            *([] if clip is None else [_after(clip.reports.get(row["backward"]))]),
            *([Text(row["problem"])] if problems else []),
        )
    return below(title, table)


def _after(report: ClipReport | None) -> Text:
    if report is None:
        return Text("–")
    return Text(decades(report.log10_after), style="bold" if report.entries else "")
