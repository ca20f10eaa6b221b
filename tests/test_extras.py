"""A package that is not installed is one line, with what to type; whatever else goes wrong in it is not hidden."""

import sys

import pytest

from unrolled.errors import MissingPackageError, UnrolledError
from unrolled.extras import lacks, need


def test_what_is_there_is_given():
    assert need("json", extra="plots", why="plots") is sys.modules["json"]
    assert need("json.decoder", extra="plots", why="plots") is sys.modules["json.decoder"]


@pytest.mark.parametrize("name", ["no_such_package", "no_such_package.part"])
def test_what_is_missing_is_a_line_with_what_to_type(name):
    with pytest.raises(MissingPackageError) as raised:
        need(name, extra="plots", why="plots")
    assert str(raised.value) == (
        "expected no_such_package for plots, which is not installed; pip install 'unrolled[plots]'"
    )
    assert isinstance(raised.value, UnrolledError)
    assert isinstance(raised.value, ImportError)


@pytest.mark.parametrize("line", ["import no_such_package_of_theirs", "1 / 0"])
def test_what_is_there_and_broken_says_itself_what_it_lacks(line, tmp_path, monkeypatch):
    (tmp_path / "broken_package_here.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises((ModuleNotFoundError, ZeroDivisionError)) as raised:
        need("broken_package_here", extra="plots", why="plots")
    assert not isinstance(raised.value, UnrolledError)


def test_who_can_do_without_gets_the_same_line_or_none():
    assert lacks("json", extra="plots", why="plots") == ""
    assert lacks("no_such_package", extra="plots", why="plots").endswith("pip install 'unrolled[plots]'")
