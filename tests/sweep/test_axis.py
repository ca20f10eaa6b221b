"""Axes as they are typed: what they mean, and what is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.sweep.axis import Axis, parse_values, typed
from unrolled.sweep.jobs import job_named

SPECTRUM = job_named("spectrum")


def test_evenly_spaced_numbers_are_tidy_and_end_where_they_should():
    found = SPECTRUM.axis("gain=0.5:2:16").values
    assert found == (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 60))
def test_steps_between_evenly_spaced_numbers_are_equal(start, length, count):
    stop = start + length
    found = parse_values("x", f"{start!r}:{stop!r}:{count}", float, ranges=True)
    assert len(found) == count
    assert found[0] == pytest.approx(start, rel=1e-11)
    assert found[-1] == pytest.approx(stop, rel=1e-11)
    assert all(
        b - a == pytest.approx(length / (count - 1), rel=1e-3, abs=1e-4) for a, b in itertools.pairwise(found)
    )


def test_listed_numbers_and_words_keep_their_order():
    assert SPECTRUM.axis("noise=0.3, 0,0.1") == Axis("noise", (0.3, 0.0, 0.1))
    assert SPECTRUM.axis("cell=lstm,gru") == Axis("cell", ("lstm", "gru"))
    assert SPECTRUM.axis("init=none,normal:0.1") == Axis("init", (None, "normal:0.1"))
    assert SPECTRUM.axis("warm-up=0,10") == Axis("warm_up", (0, 10))


def test_whole_numbers_stay_whole():
    assert SPECTRUM.axis("hidden=16:64:4").values == (16, 32, 48, 64)
    with pytest.raises(InvalidValueError, match=r"^hidden: expected a whole number, got '32.5'; try 64$"):
        SPECTRUM.axis("hidden=16:82:5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gain", "--over: expected NAME=START:STOP:COUNT or NAME=A,B,..., got 'gain'; try gain=0.5:2:16"),
        ("gain=", "--over: expected NAME=START:STOP:COUNT or NAME=A,B,..., got 'gain='; try gain=0.5:2:16"),
        ("=1,2", "--over: expected NAME"),
        ("gian=1,2", "spectrum: expected a setting of cell, hidden, .*, got 'gian'; name one of them"),
        ("gain=1", "axis gain: expected at least two values, got 1; one value is a setting, not an axis"),
        ("gain=1,1.0", "axis gain: expected each value once, got 1 twice; leave one out"),
        ("gain=1,,2", "axis gain: expected values with commas in between, got '1,,2'"),
        ("gain=1,nan", "gain: expected a finite number, got nan; try 1"),
        ("gain=1,much", "gain: expected a number, got 'much'; try 1"),
        (
            "gain=0.5:2",
            "axis gain: expected START:STOP:COUNT with a COUNT of at least 2, got '0.5:2'; try 0.5:2:16",
        ),
        ("gain=0.5:2:1", "axis gain: expected START:STOP:COUNT with a COUNT of at least 2"),
        ("gain=0.5:2:1.5", "axis gain: expected START:STOP:COUNT with a COUNT of at least 2"),
        ("gain=0.5:inf:3", "axis gain: expected finite numbers, got '0.5:inf:3'; try 0.5:2:16"),
        ("gain=a:b:3", "axis gain: expected numbers, got 'a:b:3'; try 0.5:2:16"),
        ("gain=2:2:3", "axis gain: expected each value once, got 2 twice"),
        ("gain=0:1:200000", "axis gain: expected at most 100,000 values, got 200,000; take fewer"),
        ("hidden=8,8.5", "hidden: expected a whole number, got '8.5'; try 64"),
    ],
)
def test_what_is_no_axis_is_refused(text, words):
    with pytest.raises(InvalidValueError, match=f"^{words}"):
        SPECTRUM.axis(text)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9))
def test_a_value_that_is_typed_again_is_the_same(value):
    assert float(typed(value)) == value
    assert (typed(0.5), typed(1.0), typed(None), typed("gru"), typed(64)) == ("0.5", "1", "none", "gru", "64")


def test_an_axis_made_in_python_is_checked_too():
    with pytest.raises(InvalidValueError, match="expected the name of a setting"):
        Axis("two words", (1, 2))
    with pytest.raises(InvalidTypeError, match="expected numbers or words, got True"):
        Axis("gain", (True, 2))
    with pytest.raises(InvalidValueError, match="expected finite numbers, got nan"):
        Axis("gain", (1.0, float("nan")))
