"""A package that is not installed is one line, with what to type; whatever else goes wrong in it is not hidden."""

import sys

import pytest

from unrolled.errors import MissingPackageError, UnrolledError
from unrolled.extras import need


def test_what_is_there_is_given():
    assert need("json", extra="plots", why="plots") is sys.modules["json"]
    assert need("json.decoder", extra="plots", why="plots") is sys.modules["json.decoder"]


@pytest.mark.parametrize("name", ["matplotlib", "matplotlib.pyplot"])
def test_what_is_missing_is_a_line_with_what_to_type(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, name) if name != "matplotlib" and name in sys.modules else None
    with pytest.raises(MissingPackageError) as raised:
        need(name, extra="plots", why="plots")
    assert str(raised.value) == (
        "expected matplotlib for plots, which is not installed; pip install 'unrolled[plots]'"
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
