"""Names and paths lead to implementations; whatever else leads to one clear line."""

import re
import sys

import pytest
from torch import nn

from unrolled.errors import ImplementationError, InvalidValueError
from unrolled.implementations import IMPLEMENTATIONS, Implementation, implement, load

PLUGIN = """
from torch import nn
from unrolled.implementations.cells import build as mine

number = 3

def nothing(reference):
    return None

class Strange(nn.Module):
    def forward(self, x, lengths, masks):
        return x

def strange(reference):
    return Strange()
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "plugin_of_mine.py").write_text(PLUGIN)
    (tmp_path / "broken_plugin.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "plugin_of_mine"
    sys.modules.pop("plugin_of_mine", None)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_every_registered_name_builds_a_module(name):
    implementation = load(name)
    assert implementation.name == name
    assert isinstance(implement(implementation, nn.GRU(2, 3)), nn.Module)


def test_only_what_compiles_names_the_loop_it_compiles():
    assert [name for name in IMPLEMENTATIONS if load(name).uncompiled] == ["compiled"]


def test_a_function_in_the_current_folder_is_a_plug_in(plugin):
    built = implement(load(f"{plugin}:mine"), nn.LSTM(2, 3))
    assert type(built).__name__ == "Cells"


@pytest.mark.parametrize("name", ["cels", "plugin_of_mine", ":build", "plugin_of_mine:"])
def test_an_unknown_name_is_answered_with_the_known_ones(plugin, name):
    with pytest.raises(InvalidValueError) as raised:
        load(name)
    said = str(raised.value)
    assert re.match(f"implementation: .*got {name!r}", said)
    assert all(known in said for known in IMPLEMENTATIONS)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("not_there:build", "not_there .*ModuleNotFoundError"),
        ("broken_plugin:build", "broken_plugin .*a_package_that_is_not_there"),
        ("plugin_of_mine:biuld", "plugin_of_mine .*'biuld'.*mine, nothing, Strange, strange"),
        ("plugin_of_mine:number", "expected .*got int"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error_that_says_where_it_ends(plugin, path, message):
    with pytest.raises(ImplementationError, match=f"implementation {path}: {message}"):
        load(path)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "got NoneType"),
        (
            "strange",
            r"got forward\(x, lengths, masks\)",
        ),
    ],
)
def test_a_plug_in_that_builds_something_else_is_refused(plugin, function, message):
    with pytest.raises(ImplementationError) as raised:
        implement(load(f"{plugin}:{function}"), nn.LSTM(2, 3))
    assert re.fullmatch(f"implementation {plugin}:{function}: .*{message}", str(raised.value))


def test_the_fused_implementation_of_a_module_is_that_module():
    module = nn.RNN(2, 3)
    assert implement(Implementation("fused", load("fused").build), module) is module
