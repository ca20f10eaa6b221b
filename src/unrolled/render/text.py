"""Numbers and names as people read them: three significant digits and a unit, lists with an "and"."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence


def seconds(value: float) -> str:
    """`590 µs`, `2.21 ms`, `1.50 s`."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= 0.9995 * scale:
            return f"{significant(value / scale)} {unit}"
    return "–" if math.isnan(value) else f"{significant(value / 1e-9)} ns"


def amount(value: float, unit: str = "", step: int = 1000) -> str:
    """`12.3 k`, `4.56 M`; for bytes use step 1024: `3.20 MiB`."""
    if math.isnan(value):
        return "–"
    infix = "i" if step == 1024 else ""
    for power, prefix in ((3, "G"), (2, "M"), (1, "k" if step == 1000 else "K")):
        if value >= 0.9995 * step**power:
            return f"{significant(value / step**power)} {prefix}{infix}{unit}"
    return f"{value:.0f} {unit}".strip()


def significant(value: float) -> str:
    """Three significant digits without an exponent: `0.987`, `9.87`, `98.7`, `987`."""
    if math.isnan(value):
        return "–"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    rounded = round(value, 2 - magnitude)
    magnitude = math.floor(math.log10(abs(rounded))) if rounded else 0  # 9.996 rounds up to 10.0
    return f"{rounded:.{max(0, 2 - magnitude)}f}"


def percent(share: float) -> str:
    """`1.2%`, `40%`: one decimal below ten percent."""
    return "–" if math.isnan(share) else f"{100 * share:.{1 if share < 0.0995 else 0}f}%"


MOST = 4  # names in a sentence


def listed(names: Sequence[str], most: int = MOST) -> str:
    """`a, b and c`; with semicolons where a name has a comma in it; of many the first, and how many more."""
    shown = list(names)
    if len(shown) > most + 1:
        shown = [*shown[:most], f"{len(shown) - most} more"]
    if len(shown) < 2:
        return "".join(shown)
    *before, last = shown
    if any("," in name for name in shown):
        return f"{'; '.join(before)}; and {last}"
    return f"{', '.join(before)} and {last}"


def gist(sentence: str) -> str:
    """A sentence up to where it goes into detail."""
    return re.split("[:;]", sentence)[0].rstrip(".")


def counted(number: float, what: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number:.0f} {what}{'' if number == 1 else 's'}"


def span(low: str, high: str) -> str:
    """`9 to 47`, or `9` where both are the same."""
    return low if low == high else f"{low} to {high}"


def power_of_ten(exponent: float) -> str:
    """`10⁻⁹`."""
    return "10" + f"{exponent:.0f}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def number(log10: float) -> str:
    """The number of which this is the logarithm: `0.00123`, `2.62`, `7.9 × 10²⁴`."""
    if -4 < log10 < 4:
        return significant(10**log10)
    exponent = math.floor(log10)
    return f"{10 ** (log10 - exponent):.1f} × {power_of_ten(exponent)}"


def signed(value: float) -> str:
    """`−1.9`, `+1.1`, with a sign of minus and no hyphen."""
    return f"{value:+.1f}".replace("-", "−")


HINT = "--explain says what each column means, and more."


def titled(title: str, units: str) -> str:
    """A title with the size of its networks, where they were made here; they are untrained then."""
    return f"{title}; {units}, untrained" if units else title
