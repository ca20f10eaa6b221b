"""The colours of figures on light and on dark paper: each gets a name, and a value for both."""

from __future__ import annotations

from dataclasses import dataclass, field

LIGHT_PAPER, LIGHT_INK = "#ffffff", "#000000"  # of the figures as they are drawn
DARK_PAPER, DARK_INK = "#15181c", "#e9ecef"
TEXT, MARK = 4.5, 3.0  # least contrast with the paper (WCAG 2.2, 1.4.3 and 1.4.11)
GREY = 12  # of 255, between channels, that still looks grey


@dataclass
class Palette:
    """The colours of a page, named in the order in which they are asked for."""

    _names: dict[tuple[str, bool], str] = field(default_factory=dict)

    def variable(self, colour: str, is_text: bool) -> str:
        """`var(--k3)` for a colour such as `#0072b2`, of letters or of anything else."""
        name = self._names.setdefault((colour.lower(), is_text), f"--k{len(self._names)}")
        return f"var({name})"

    def css(self, dark: bool) -> str:
        """The values of all names."""
        of = on_dark if dark else on_light
        return "".join(f"{name}:{of(colour, is_text)};" for (colour, is_text), name in self._names.items())


def on_light(colour: str, is_text: bool) -> str:
    """As it is; letters as much darker as reading them takes."""
    return _apart(colour, LIGHT_PAPER, LIGHT_INK, TEXT) if is_text else colour


def on_dark(colour: str, is_text: bool) -> str:
    """Greys turned round between ink and paper; other colours as much lighter as seeing them takes."""
    red, green, blue = channels(colour)
    if max(red, green, blue) - min(red, green, blue) <= GREY:
        share = (red + green + blue) / 3 / 255
        mixed = mix(DARK_INK, DARK_PAPER, share)
        return _apart(mixed, DARK_PAPER, DARK_INK, TEXT) if is_text else mixed
    return _apart(colour, DARK_PAPER, DARK_INK, TEXT if is_text else MARK)


def _apart(colour: str, paper: str, ink: str, least: float) -> str:
    """The colour with as much ink in it as `least` contrast with the paper takes."""
    steps = (mix(colour, ink, share / 50) for share in range(51))
    return next((each for each in steps if contrast(each, paper) >= least), ink)


def mix(one: str, other: str, share: float) -> str:
    """So much of the other, channel by channel."""
    pairs = zip(channels(one), channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def channels(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of `#rrggbb`, from 0 to 255."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return red, green, blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2.2)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (channel / 255 for channel in channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
