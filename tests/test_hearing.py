"""What somebody else's code prints is counted, its first line is kept, and nothing of it is shown."""

import io
import sys

import pytest

from unrolled.hearing import LONGEST, heard


def by_print():
    print("first")
    print("second")


def by_bytes():
    sys.stdout.buffer.write(b"first\nsec")
    sys.stdout.buffer.write(b"ond")


def by_parts():
    sys.stdout.write("fir")
    sys.stdout.write("st\n\x1b[2Jsecond")
    sys.stdout.flush()


@pytest.mark.parametrize("prints", [by_print, by_bytes, by_parts])
def test_the_first_line_and_the_number_of_lines_are_kept(prints, capsys):
    with heard() as printed:
        prints()
    assert str(printed) == "printed 2 lines: first"
    assert capsys.readouterr() == ("", "")


def test_silence_is_no_words():
    with heard() as printed:
        sys.stdout.write("")
    assert str(printed) == ""
    assert printed.lines == 0


def test_what_is_kept_does_not_grow_and_can_be_shown_anywhere():
    with heard() as printed:
        print("\x1b[31mé\r" + "x" * 10**6)
        for _ in range(1000):
            print("x" * 1000)
    assert printed.lines == 1001
    assert str(printed).isprintable()
    assert len(str(printed)) <= LONGEST + len("printed 1,001 lines: ")


def test_a_stream_in_any_encoding_hears_every_character(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    with heard() as printed:
        print("é\udc80")
    assert str(printed).startswith("printed 1 line: é")


def test_the_stream_is_back_after_an_error():
    def leaves():
        print("x")
        sys.exit()

    before = sys.stdout
    with pytest.raises(SystemExit), heard() as printed:
        leaves()
    assert sys.stdout is before
    assert printed.lines == 1


def test_one_within_another_shares_what_it_hears():
    with heard() as outer:
        print("a")
        with heard() as inner:
            print("b")
        print("c")
    assert inner is outer
    assert str(outer) == "printed 3 lines: a"


def test_a_stream_that_was_kept_can_be_written_to_later():
    with heard() as printed:
        stream = sys.stdout
    print("later", file=stream)
    assert printed.lines == 1
