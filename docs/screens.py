"""The screens that the reading pages show, made again from their records: `python docs/screens.py`."""

import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from unrolled.cli.command import main

ROOT = Path(__file__).parents[1]
SCREENS = ROOT / "docs" / "screens"
WIDTH = 100  # columns, which is what a page has room for
# Name of the screen -> the line that prints it, from the root of a checkout.
LINES = {
    "bench": "plots docs/results/cpu/bench.json --cell lstm --no-plots",
    "why": "plots docs/results/cpu/why/why.json --no-plots",
    "gradflow": "plots docs/results/cpu/gradflow.json --no-plots",
    "spectrum": "plots docs/results/cpu/spectrum.json --no-plots",
    "shapes": "plots docs/screens/shapes.json --no-plots",
    "learn": "plots docs/results/cpu/learn/learn.json --no-plots",
    "advise": "plots docs/results/cpu/advise/advise.json --no-plots",
    "sweep": "plots docs/results/cpu/sweep/sweep.json --no-plots",
    "parallel": "plots docs/results/cpu/parallel/parallel.json --no-plots",
    "transition": "plots docs/results/cpu/parallel/transition/parallel.json --no-plots",
    "forecast": "plots docs/results/cpu/forecast/forecast.json --no-plots",
    "compare": "compare docs/screens/before.json docs/screens/after.json",
}


def screen(name: str) -> str:
    """What the line prints, on a terminal of `WIDTH` columns, without spaces at the ends of lines."""
    command, *options = LINES[name].split()
    words = [str(ROOT / word) if word.endswith(".json") else word for word in options]
    printed, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with redirect_stdout(printed):
            status = main(command, words, prog=f"unrolled {command}")
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    if status:
        raise SystemExit(f"{LINES[name]}: exit status {status}")
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()).strip("\n") + "\n"


if __name__ == "__main__":
    for name in sys.argv[1:] or LINES:
        (SCREENS / f"{name}.txt").write_text(screen(name), encoding="utf-8")
