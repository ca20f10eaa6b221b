"""Two runs of the same benchmarks: which ratios moved, which verdicts turned, and is it the same machine?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unrolled.errors import ResultFileError
from unrolled.speed.run import Run

if TYPE_CHECKING:
    import pandas as pd

KEY = [
    "cell",
    "num_layers",
    "input_size",
    "hidden_size",
    "batch_size",
    "seq_len",
    "bidirectional",
    "device",
    "dtype",
    "phase",
    "implementation",
    "reference",
]


@dataclass(frozen=True)
class Comparison:
    """The benchmarks that both runs timed, side by side, and what differs between their environments.

    `frame` has the columns of `KEY`, then `ratio_before`, `ratio_after`, `change` (after / before - 1) and
    the two verdicts.
    """

    frame: pd.DataFrame
    differences: dict[str, tuple[Any, Any]]

    @property
    def median_change(self) -> float:
        """Median of `|after / before - 1|` over the contenders other than the reference itself."""
        contenders = self.frame[self.frame["implementation"] != self.frame["reference"]]
        return float(contenders["change"].abs().median())

    @property
    def turned(self) -> pd.DataFrame:
        """The benchmarks whose verdict went from `faster` to `slower` or back."""
        verdicts = self.frame["verdict_before"] + self.frame["verdict_after"]
        return self.frame[verdicts.isin(["fasterslower", "slowerfaster"])]


def compare_runs(before: Run, after: Run) -> Comparison:
    """Match the benchmarks of two runs. Raises `ResultFileError` when they have none in common."""
    columns = [*KEY, "ratio", "verdict"]
    one, two = (run.frame().query("rounds > 0")[columns] for run in (before, after))
    both = one.merge(two, on=KEY, suffixes=("_before", "_after"))
    if both.empty:
        raise ResultFileError(
            f"results: expected runs with benchmarks in common, got {len(one)} and {len(two)} different ones; "
            "run the same grid twice"
        )
    both["change"] = both["ratio_after"] / both["ratio_before"] - 1
    return Comparison(both, before.environment.differences(after.environment))
