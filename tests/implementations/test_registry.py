"""Names and paths lead to implementations; whatever else leads to one clear line."""

import copy
import re
import sys

import pytest
import torch
from examples.cells.min_gru import MinGRU
from torch import Tensor, nn

from unrolled.cells.build import Unrolled
from unrolled.errors import ImplementationError, InvalidTypeError, InvalidValueError
from unrolled.implementations import IMPLEMENTATIONS, Implementation, as_implementation, implement, load
from unrolled.implementations.cells import Cells
from unrolled.speed.settings import check_plugin

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
    reference = Unrolled(MinGRU, 2, 3) if name == "scan" else nn.GRU(2, 3)
    assert isinstance(implement(implementation, reference), nn.Module)


def test_only_what_compiles_names_the_loop_it_compiles():
    compiled = [name for name in IMPLEMENTATIONS if load(name).uncompiled]
    assert compiled == ["compiled", "compiled_reduce_overhead", "compiled_max_autotune"]


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


@pytest.mark.parametrize("build", [copy.deepcopy, Cells, lambda reference: reference])
def test_another_build_under_the_name_of_the_reference_is_refused(build):
    with pytest.raises(InvalidValueError, match=r"implementation fused: .*another name"):
        Implementation("fused", build)


def test_names_paths_functions_and_implementations_are_implementations(plugin):
    assert as_implementation("hoisted") == load("hoisted")
    assert as_implementation(f"{plugin}:mine") == load(f"{plugin}:mine")
    assert as_implementation(copy.deepcopy) == Implementation("deepcopy", copy.deepcopy)
    assert as_implementation(Cells).name == "Cells"
    mine = Implementation("mine", Cells)
    assert as_implementation(mine) is mine


@pytest.mark.parametrize("what", [None, 3, ["cells"], nn.LSTM(2, 3)])
def test_nothing_else_is_one(what):
    with pytest.raises(InvalidTypeError, match=f"implementation: expected a name.*got {type(what).__name__};"):
        as_implementation(what)


def test_an_implementation_is_made_of_a_function():
    with pytest.raises(InvalidTypeError, match="implementation mine: expected a function .*got int;"):
        Implementation("mine", 3)


class Wrapped(nn.Module):
    """What TorchScript can take: one `forward`, with types."""

    def __init__(self, gru: nn.Module) -> None:
        super().__init__()
        self.gru = gru

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.gru(input, hx)


def scripted(reference):
    return torch.jit.script(Wrapped(reference))


def frozen(reference):
    return torch.jit.freeze(scripted(reference).eval())


def in_parts(reference):
    """Traced twice, with and without a state."""
    x, h = torch.zeros(1, 1, reference.input_size), torch.zeros(1, 1, reference.hidden_size)
    alone, with_state = torch.jit.trace(reference, (x,)), torch.jit.trace(reference, (x, h))
    both = Wrapped(reference)
    both.forward = lambda input, hx=None: alone(input) if hx is None else with_state(input, hx)
    return both


def torchscript(test):
    """TorchScript is deprecated, warns, and keeps what it compiled of a class."""
    warnings = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
    return pytest.mark.usefixtures("fresh_torchscript")(warnings(test))


@torchscript
@pytest.mark.parametrize("build", [scripted, frozen, in_parts])
def test_torchscript_that_is_called_alike_is_let_in(build):
    module = nn.GRU(2, 3)
    x, h = torch.randn(5, 4, 2), torch.randn(1, 4, 3)
    built = implement(Implementation("mine", build), module)
    for arguments in ((x,), (x, h)):
        torch.testing.assert_close(built(*arguments), module(*arguments))
    check_plugin(Implementation("mine", build), ["gru"])


def traced_without_a_state(reference):
    return torch.jit.trace(reference, (torch.zeros(1, 1, reference.input_size),))


def traced_with_one(reference):
    x, h = torch.zeros(1, 1, reference.input_size), torch.zeros(1, 1, reference.hidden_size)
    return torch.jit.trace(reference, (x, h))


@torchscript
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (traced_without_a_state, r"got forward\(input\)"),
        (traced_with_one, r"got forward\(input, hx\)"),
        (torch.jit.script, "got a module without forward; .*"),  # nn.GRU has two of them
    ],
)
def test_torchscript_that_is_called_otherwise_is_refused(build, message):
    with pytest.raises(ImplementationError, match=f"implementation mine: expected .*hx=None.*{message}$"):
        implement(Implementation("mine", build), nn.GRU(2, 3))


class Untold(nn.GRU):
    """With a `forward` that has no signature, as one that is written in C++ has none."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.forward = dict  # inspect.signature(dict) raises


def test_where_no_signature_tells_the_calls_do():
    def build(reference):
        return Untold(reference.input_size, reference.hidden_size)

    implement(Implementation("mine", build), nn.GRU(2, 3))
    with pytest.raises(ImplementationError, match=r"module\(input\) and module\(input, hx\), but it raised"):
        check_plugin(Implementation("mine", build), ["gru"])


def test_a_module_that_fails_with_a_state_is_told_when_it_is_tried():
    class Stateless(Cells):
        def forward(self, input, hx=None):
            if hx is not None:
                raise NotImplementedError("no states here")
            return super().forward(input)

    with pytest.raises(ImplementationError, match=r"mine: .*NotImplementedError: no states here"):
        check_plugin(Implementation("mine", Stateless), ["gru"])
