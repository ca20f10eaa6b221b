"""Colours that can be seen on light and on dark paper; the numbers are those of WCAG 2.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.render.report.colours import (
    DARK_PAPER,
    LIGHT_PAPER,
    MARK,
    TEXT,
    Palette,
    contrast,
    mix,
    on_dark,
    on_light,
)

colours = st.integers(0, 0xFFFFFF).map("#{:06x}".format)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#777777", "#ffffff", 4.48),
        ("#ff0000", "#ffffff", 4.0),
        ("#123456", "#123456", 1.0),
    ],
)
def test_contrast_is_that_of_wcag(one, other, expected):
    assert contrast(one, other) == pytest.approx(expected, abs=0.005)
    assert contrast(other, one) == contrast(one, other)


@given(colours)
def test_letters_can_be_read_on_both_papers(colour):
    assert contrast(on_light(colour, is_text=True), LIGHT_PAPER) >= TEXT
    assert contrast(on_dark(colour, is_text=True), DARK_PAPER) >= TEXT


@given(colours)
def test_marks_are_as_they_were_on_light_paper_and_coloured_ones_are_seen_on_dark(colour):
    assert on_light(colour, is_text=False) == colour
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    if max(red, green, blue) - min(red, green, blue) > 12:
        assert contrast(on_dark(colour, is_text=False), DARK_PAPER) >= MARK


def test_paper_and_ink_change_places():
    assert on_dark("#ffffff", is_text=False) == DARK_PAPER
    lightness = [
        contrast(on_dark(grey, is_text=False), DARK_PAPER)
        for grey in ("#ffffff", "#dddddd", "#777777", "#000000")
    ]
    assert lightness == sorted(lightness)
    assert lightness[-1] > 12


def test_mixed_colours_lie_between():
    assert mix("#000000", "#ffffff", 0.0) == "#000000"
    assert mix("#000000", "#ffffff", 1.0) == "#ffffff"
    assert mix("#102030", "#304050", 0.5) == "#203040"


def test_a_palette_names_each_colour_once_and_knows_letters_from_marks():
    palette = Palette()
    names = [
        palette.variable(colour, text)
        for colour, text in (("#FFFF00", False), ("#ffff00", False), ("#ffff00", True))
    ]
    assert names == ["var(--k0)", "var(--k0)", "var(--k1)"]
    assert palette.css(dark=False).startswith("--k0:#ffff00;--k1:#")
    assert palette.css(dark=False).count(";") == palette.css(dark=True).count(";") == 2
