"""What cannot be shown costs the display only: the data are on disk, one line says where, the status says what failed."""

import io
import os
import sys

import pytest

from tests.cli.wrong_lines import SMALL
from unrolled import streams
from unrolled.streams import say, shown

COMMANDS = ("gradflow", "spectrum", pytest.param("forecast", marks=pytest.mark.slow), "shapes")


def options(command, folder):
    return [*SMALL[command].split(), "--out", folder / "out"]


def is_whole(command, folder):
    return (folder / "out" / f"{command}.json").exists() and not (
        folder / "out" / f"{command}.partial.json"
    ).exists()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", ["broken", "closed", "/dev/full"])
def test_results_outlive_a_standard_output_that_takes_nothing(warm, place, command, out):
    if out == "/dev/full" and not os.path.exists(out):
        pytest.skip("no /dev/full here")
    done = warm.run(command, *options(command, place), cwd=place, out=out)
    assert is_whole(command, place), done
    assert done.status == 1
    (line,) = done.err.splitlines()
    assert "standard output" in line
    assert str(place / "out") in line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_an_encoding_that_lacks_characters_shows_a_sign_in_their_place_and_says_so(
    warm, place, command, encoding
):
    done = warm.run(command, *options(command, place), cwd=place, encoding=encoding)
    assert done.status == 0, done.err
    assert is_whole(command, place)
    assert len(done.out.splitlines()) > 5
    assert all(encoding in line and str(place / "out") in line for line in done.err.splitlines())
    assert len(done.err.splitlines()) <= 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("err", ["broken", "closed", "/dev/full"])
def test_a_standard_error_that_takes_nothing_changes_nothing(warm, place, command, err):
    done = warm.run(command, *options(command, place), cwd=place, err=err)
    assert done.status == 0
    assert is_whole(command, place)
    assert done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_with_all_streams_closed_there_are_still_results(warm, place, command):
    done = warm.run(command, *options(command, place), cwd=place, out="closed", err="closed")
    assert done.status == 1
    assert is_whole(command, place)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [80, 100, 160])
def test_columns_are_heard_where_there_is_no_terminal(warm, place, command, columns):
    done = warm.run(command, *options(command, place), "--quiet", cwd=place, env={"COLUMNS": str(columns)})
    assert done.status == 0, done.err
    assert max(map(len, done.out.splitlines())) <= columns


@pytest.mark.parametrize("columns", ["0", "-3", "²", "abc", "", "9" * 5000])
def test_columns_that_are_no_width_are_not_heard(warm, place, columns):
    done = warm.run("shapes", *options("shapes", place), cwd=place, env={"COLUMNS": columns, "LINES": columns})
    assert (done.status, done.err) == (0, "")
    asked = warm.run("shapes", *options("shapes", place), cwd=place, env={"COLUMNS": "120"})
    assert done.out == asked.out  # which is how wide tables are by themselves


def test_a_standard_output_that_somebody_closed_is_said_and_other_errors_are_raised(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(ValueError, match="ours"):
        shown(lambda: int("ours"))
    sys.stdout.close()
    assert shown(lambda: print("table")) == "standard output: closed"


def test_a_standard_error_that_somebody_closed_is_not_missed(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(streams, "_errors", [closed])
    say("a line")
