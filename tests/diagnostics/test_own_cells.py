"""What is wrong with a cell that somebody else wrote is said in one line, in Python and by every command."""

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from diagnostics import gradflow, shapes, spectrum
from unrolled import Workload, gradient_flow, lyapunov_spectrum
from unrolled.cells.build import Unrolled
from unrolled.errors import InvalidTypeError, InvalidValueError, UnrolledError
from unrolled.speed.settings import LIST_OPTIONS, Settings

SMALL = ["--hidden", "3", "--input", "2", "--batch", "2", "--length", "6", "--quiet"]
BEGIN = """
class {name}(nn.Module):
    def __init__(self, input_size, hidden_size{more}):
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)
    def forward(self, x, h{argument}):
        h = torch.zeros_like(self.linear(x)) if h is None else h
        {body}
"""


def source(body="return torch.tanh(self.linear(x) + h)", name="Bad", more="", argument=""):
    return BEGIN.format(name=name, more=more, argument=argument, body=body)


# What is wrong -> the source, and words of the one line that says so.
BAD = {
    "another shape than its state": (source("return torch.cat([h, h])"), ("Bad", "(4, ")),
    "no state": (source("return None"), ("Bad", "NoneType")),
    "writes into its input": (source("x.mul_(0.5); return self.linear(x) + h"), ("Bad", "input")),
    "writes into its state": (source("h.mul_(0.5); return self.linear(x) + h.clone()"), ("Bad", "state")),
    "needs more to be made": (source(more=", depth"), ("Bad", "depth")),
    "needs more to be called": (source(argument=", mask"), ("Bad", "mask")),
    "raises": (source("raise RuntimeError('no such kernel')"), ("Bad", "no such kernel")),
    "another width than asked for": (source("return h.new_zeros(len(x), 7), h"), ("Bad", "(2, 7)")),
    "is no module": ("def Bad(input_size, hidden_size): return 3", ("Bad", "int")),
    "cannot be called": ("Bad = 3", ("Bad", "int")),
    "is not there": ("Good = nn.RNNCell", ("Bad", "Good")),
    "raises when imported": ("raise RuntimeError('not today')", ("not today",)),
    "exits when imported": ("import sys; sys.exit(0)", ("SystemExit",)),
    "exits when made": ("def Bad(input_size, hidden_size): raise SystemExit(0)", ("Bad", "SystemExit")),
    "exits when called": (source("raise SystemExit(0)"), ("Bad", "SystemExit")),
}


@pytest.mark.parametrize("command", [gradflow, spectrum, shapes], ids=lambda command: command.__name__)
@pytest.mark.parametrize("wrong", BAD)
def test_a_command_says_in_one_line_what_is_wrong(wrong, command, plugin, capsys):
    code, words = BAD[wrong]
    assert command.main(["--cell", f"{plugin(code)}:Bad", *SMALL, "--out", "out"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err


@pytest.mark.parametrize("wrong", BAD)
def test_a_benchmark_refuses_it_before_anything_is_timed(wrong, plugin, tmp_path):
    code, words = BAD[wrong]
    lists = {option.flag: [] for option in LIST_OPTIONS} | {"--cell": ["lstm", f"{plugin(code)}:Bad"]}
    with pytest.raises(UnrolledError) as caught:
        Settings.read(lists, "quick", 0.1, tmp_path, ["cpu"])
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("wrong", [wrong for wrong, (code, _) in BAD.items() if "class Bad" in code])
def test_in_python_too(wrong):
    code, words = BAD[wrong]
    names = {"nn": nn, "torch": torch}
    exec(code, names)
    with pytest.raises(UnrolledError) as caught:
        Unrolled(names["Bad"], 2, 3)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


DETACHED = """
class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h): return h * 0.5
    @staticmethod
    def backward(ctx, g): return g * 0.5
""" + source("return Once.apply(h) + self.linear(x)")


def test_what_torch_func_cannot_differentiate_has_a_gradient_flow_and_no_spectrum(plugin, capsys):
    name = plugin(DETACHED)
    assert spectrum.main(["--cell", f"{name}:Bad", *SMALL, "--out", "out"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "torch.func" in err
    model = Workload(cell=f"{name}:Bad", input_size=2, hidden_size=3, seq_len=6).reference()
    with pytest.raises(InvalidTypeError, match="torch.func"):
        lyapunov_spectrum(model, torch.randn(6, 2, 2))
    norms = gradient_flow(model, torch.randn(6, 2, 2)).profile().log10_norm
    assert norms[5] - norms[0] == pytest.approx(-5 * np.log10(2), abs=1e-5)


@pytest.mark.parametrize(
    "options", [["--init", "orthogonal"], ["--gain", "2"], ["--forget-bias", "3"], ["--init", "chrono:9"]]
)
def test_an_own_cell_starts_as_it_does_itself(options, plugin, capsys):
    path = f"{plugin(source(name='Good'))}:Good"
    assert gradflow.main(["--cell", path, *options, *SMALL, "--out", "out"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "Good" in err


@pytest.mark.parametrize("options", [["--proj-size", "2"], ["--batch-first"], ["--no-bias"]])
def test_shapes_of_an_own_cell_have_no_options_of_torchs(options, plugin, capsys):
    assert shapes.main(["--cell", f"{plugin(source(name='Good'))}:Good", *options, *SMALL]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


LOUD = """
import random, numpy
print("hello"); torch.manual_seed(1); random.seed(1); torch.set_default_dtype(torch.float16)
""" + source("print('step') if False else None; return torch.tanh(self.linear(x) + h)", name="Loud").replace(
    "        super().__init__()",
    "        super().__init__(); print('made'); torch.manual_seed(2); numpy.random.seed(2); random.seed(2)\n"
    "        torch.set_default_dtype(torch.float32)",
)


def test_a_cell_that_prints_seeds_and_sets_the_dtype_leaves_no_trace(plugin, capsys):
    path = f"{plugin(LOUD)}:Loud"
    torch.manual_seed(7), random.seed(7), np.random.seed(7)  # noqa: NPY002
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    module = Workload(cell=path, input_size=2, hidden_size=3, num_layers=2, dtype="float64").reference()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # noqa: NPY002
    assert torch.get_default_dtype() == torch.float32
    assert capsys.readouterr() == ("", "")
    assert {p.dtype for p in module.parameters()} == {torch.float64}


def test_weights_are_drawn_in_float64_from_the_seed_and_rounded(plugin):
    workload = Workload(
        cell=f"{plugin(source(name='Good'))}:Good", input_size=2, hidden_size=(3, 4), dtype="float64"
    )
    drawn, again, other = (w.reference().state_dict() for w in (workload, workload, workload.replace(seed=1)))
    rounded = workload.replace(dtype="float32").reference().state_dict()
    for name, weight in drawn.items():
        assert torch.equal(weight, again[name])
        assert not torch.equal(weight, other[name])
        assert not torch.equal(weight, weight.float().double())
        assert torch.equal(weight.float(), rounded[name])


@pytest.mark.parametrize("cell", ["nothing", ":Name", "module:", "", 3])
def test_what_is_neither_a_name_nor_a_path_is_no_cell(cell):
    with pytest.raises(InvalidValueError, match="cell"):
        Workload(cell=cell)


THREE = """
class Three(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.linear, self.size = nn.Linear(input_size, hidden_size), hidden_size
    def initial_state(self, batch_size):
        return torch.zeros(batch_size, self.size), torch.zeros(batch_size, 2), torch.zeros(batch_size, 2, 2)
    def forward(self, x, state):
        a, b, c = state
        after = torch.tanh(self.linear(x) + a * 0.5 + 0.01 * b.sum(-1, keepdim=True))
        return after * 2, (after, 0.5 * b + c.sum(-1), 0.9 * c + after.mean(-1)[:, None, None])
"""


@pytest.mark.slow
def test_a_state_of_three_parts_and_an_output_beside_it_goes_through_every_command(plugin, tmp_path, capsys):
    path = f"{plugin(THREE)}:Three"
    for command in (gradflow, spectrum, shapes):
        assert command.main(["--cell", path, "--layers", "2", *SMALL, "--out", str(tmp_path / "out")]) == 0, (
            capsys.readouterr().err
        )
    assert "(2, 2, 2, 2)" in capsys.readouterr().out


def test_two_cells_of_one_name_are_not_raced_together(plugin, tmp_path):
    paths = [f"{plugin(source(name='Good'))}:Good" for _ in range(2)]
    lists = {option.flag: [] for option in LIST_OPTIONS} | {"--cell": paths}
    with pytest.raises(InvalidValueError, match="Good"):
        Settings.read(lists, "quick", 0.1, tmp_path, ["cpu"])


def test_loops_of_torchs_cells_are_left_out_with_a_sentence(plugin, tmp_path):
    path = f"{plugin(source(name='Good'))}:Good"
    lists = {option.flag: [] for option in LIST_OPTIONS} | {
        "--cell": ["gru", path],
        "--layers": ["1"],
        "--batch": ["2"],
    }
    settings = Settings.read(lists, "quick", 0.1, tmp_path, ["cpu"])
    assert {(c.workload.cell_name, c.implementation) for c in settings.cases} == {
        ("gru", "fused"), ("gru", "cells"), ("gru", "hoisted"), ("Good", "fused"),
    }  # fmt: skip
    (note,) = settings.notes
    assert all(word in note for word in ("Good", "cells", "hoisted"))
    assert "Good-L1-B2-T50-I64-H128-forward-own-loop" in {case.label for case in settings.cases}
    assert path.partition(":")[0] in sys.modules
