"""Cells that somebody else wrote, from `examples/cells`: against explicit loops, closed forms, and through commands."""

import json
import math

import pytest
import torch
from examples.cells.leaky_rate import LeakyRate
from examples.cells.lru import LRU
from examples.cells.min_gru import MinGRU
from examples.cells.minimal_gated_unit import MinimalGatedUnit
from examples.cells.peephole_lstm import PeepholeLSTM
from torch import nn

from diagnostics import gradflow, shapes, spectrum
from unrolled import Workload, gradient_flow, lyapunov_spectrum
from unrolled.cells.build import Unrolled
from unrolled.implementations import load
from unrolled.shapes.record import Shapes
from unrolled.speed.equivalence import check_equivalence
from unrolled.speed.race import race

T, B, I, H = 12, 3, 4, 5
PATHS = {
    PeepholeLSTM: "examples.cells.peephole_lstm:PeepholeLSTM",
    MinimalGatedUnit: "examples.cells.minimal_gated_unit:MinimalGatedUnit",
    LeakyRate: "examples.cells.leaky_rate:LeakyRate",
    MinGRU: "examples.cells.min_gru:MinGRU",
    LRU: "examples.cells.lru:LRU",
}
sigmoid, tanh = torch.sigmoid, torch.tanh


def peephole(p, x, h, c):
    i, f, g, o = (x @ p["from_input.weight"].T + p["from_input.bias"] + h @ p["from_state.weight"].T).split(
        H, dim=-1
    )
    after = sigmoid(f + p["peepholes"][1] * c) * c + sigmoid(i + p["peepholes"][0] * c) * tanh(g)
    return sigmoid(o + p["peepholes"][2] * after) * tanh(after), after


def minimal(p, x, h):
    from_x = x @ p["from_input.weight"].T + p["from_input.bias"]
    f = sigmoid(from_x[:, :H] + h @ p["forget.weight"].T)
    return ((1 - f) * h + f * tanh(from_x[:, H:] + (f * h) @ p["new.weight"].T),)


def leaky(p, x, h):
    rate = tanh(h @ p["from_state.weight"].T + x @ p["from_input.weight"].T + p["from_input.bias"])
    xi = torch.randn(B, H, dtype=torch.float64)
    return (0.8 * h + 0.2 * rate + 0.05 * math.sqrt(2 * 0.2) * xi,)


def min_gru(p, x, h):
    z = sigmoid(x @ p["gate.weight"].T + p["gate.bias"])
    return ((1 - z) * h + z * (x @ p["new.weight"].T + p["new.bias"]),)


def lru(p, x, h):
    eigenvalues = torch.exp(-torch.exp(p["nu"]))
    return (eigenvalues * h + torch.sqrt(1 - eigenvalues**2) * (x @ p["into.weight"].T),)


EQUATIONS = {PeepholeLSTM: peephole, MinimalGatedUnit: minimal, LeakyRate: leaky, MinGRU: min_gru, LRU: lru}
OUTPUTS = {LRU: lambda p, h: h @ p["out.weight"].T}  # of those whose output is not their state
every_cell = pytest.mark.parametrize("cell", PATHS, ids=lambda cell: cell.__name__)
first, *others = PATHS
# By a whole command, which takes seconds.
every_cell_by_command = pytest.mark.parametrize(
    "cell",
    [first, *(pytest.param(other, marks=pytest.mark.slow) for other in others)],
    ids=lambda cell: cell.__name__,
)


@every_cell
def test_profiles_and_weight_gradients_are_those_of_autograd_through_the_equations(cell):
    workload = Workload(cell=PATHS[cell], input_size=I, hidden_size=H, batch_size=B, seq_len=T, dtype="float64")
    module, x = workload.reference(), workload.input()
    torch.manual_seed(3)
    flow = gradient_flow(module, x, lambda result: (result[0] ** 2).sum())

    parameters = {name: p.detach().requires_grad_() for name, p in module.cells[0].named_parameters()}
    state = (torch.zeros(B, H, dtype=torch.float64),) * (2 if cell is PeepholeLSTM else 1)
    states = []
    torch.manual_seed(3)
    for x_t in x:
        state = EQUATIONS[cell](parameters, x_t, *state)
        states.append(state)
        for part in state:
            part.retain_grad()
    output = OUTPUTS.get(cell, lambda p, h: h)
    sum((output(parameters, h) ** 2).sum() for h, *_ in states).backward()

    for k, path in enumerate(("h", "c")[: len(state)]):
        norms = torch.stack([parts[k].grad.norm(dim=-1) for parts in reversed(states)])
        expected = (norms**2).mean(1).sqrt().log2().numpy()
        # a few roundings a step, over T steps
        assert flow.profile(path=path).log10_norm / math.log10(2) == pytest.approx(expected, abs=1e-12)
    for name, parameter in parameters.items():
        found = flow.gradient(f"cells.0.{name}")
        torch.testing.assert_close(
            found, parameter.grad, rtol=1e-12, atol=1e-13 * float(parameter.grad.abs().max())
        )


@pytest.mark.slow
def test_exponents_of_the_leaky_network_at_rest_are_those_of_its_linear_part():
    torch.manual_seed(0)
    make = lambda i, h: LeakyRate(i, h, a=0.2, noise=0.0)  # noqa: E731
    module = Unrolled(make, I, H).double()
    nn.init.zeros_(module.cells[0].from_input.bias)
    found = lyapunov_spectrum(module, torch.zeros(4000, 1, I, dtype=torch.float64), warm_up=500)
    eigenvalues = torch.linalg.eigvals(module.cells[0].from_state.weight.detach())
    expected = (0.8 + 0.2 * eigenvalues).abs().log().sort(descending=True).values
    # A mean over 3500 steps; a pair of complex eigenvalues is turned out of its mean by less than 2 / 3500.
    assert found.part().mean == pytest.approx(expected.numpy(), abs=1e-3)


class Half(nn.Module):
    """`h' = h / 2 + x`: no parameters, and the gradient halves at every step."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size

    def forward(self, x, h):
        h = x.new_zeros(len(x), self.hidden_size) if h is None else h
        return h / 2 + x[:, : self.hidden_size]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cell_that_halves_its_state_has_exact_norms_to_1e_minus_300_and_beyond(dtype):
    steps = 1200  # 2^-1199 is 10^-361
    profile = gradient_flow(Unrolled(Half, 2, 2), torch.randn(steps, 2, 2, dtype=dtype)).profile()
    relative = (profile.log10_norm - profile.log10_norm[0]) / math.log10(2)
    assert relative == pytest.approx(-torch.arange(steps).double().numpy(), abs=1e-9)


@every_cell
@pytest.mark.parametrize("both", [False, True])
def test_layers_and_directions_are_those_of_a_loop_written_out(cell, both):
    workload = Workload(
        cell=PATHS[cell], input_size=I, hidden_size=H, num_layers=2, batch_size=B, seq_len=T, bidirectional=both
    )
    assert check_equivalence(workload, load("fused")).equal


def test_a_contender_that_computes_something_else_is_found(plugin):
    name = plugin("""
import copy
def build(reference):
    wrong = copy.copy(reference)
    wrong.scan = lambda cell, x, state: (lambda out, last: (out * 1.001, last))(*reference.scan(cell, x, state))
    return wrong
""")
    workload = Workload(cell=PATHS[PeepholeLSTM], input_size=I, hidden_size=H, batch_size=B, seq_len=T)
    assert race(workload, "training", load(f"{name}:build"), budget=0.01).status == "wrong"


@every_cell
def test_a_race_of_the_own_loop_is_timed_with_no_made_up_operation_count(cell):
    workload = Workload(cell=PATHS[cell], input_size=I, hidden_size=H, batch_size=B, seq_len=T)
    row = race(workload, "training", load("fused"), budget=0.01).row()
    assert (row["status"], row["cell"], row["implementation"], row["reference"]) == (
        "ok", cell.__name__, "own loop", "own loop",
    )  # fmt: skip
    assert math.isnan(row["gflops"])
    assert row["tokens_per_s"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch has warnings of its own while it compiles
@every_cell
@pytest.mark.parametrize("phase", ["forward", "training"])
def test_the_compiled_loop_is_the_same_work(cell, phase):
    workload = Workload(cell=PATHS[cell], input_size=I, hidden_size=H, batch_size=B, seq_len=4)
    assert race(workload, phase, load("compiled"), budget=0.01).status == "ok"


SMALL = ["--hidden", "4", "--input", "3", "--batch", "2", "--quiet"]


@every_cell_by_command
def test_gradflow_of_it(cell, tmp_path, capsys):
    options = [
        "--cell",
        PATHS[cell],
        *SMALL,
        "--layers",
        "2",
        "--bidirectional",
        "--length",
        "8",
        "--lengths",
        "4,6",
    ]
    clips = ["--clip", "none", "--clip", "norm:1", "--clip", "step:1"]
    assert gradflow.main([*options, *clips, "--out", str(tmp_path)]) == 0
    assert cell.__name__ in capsys.readouterr().out
    saved = json.loads((tmp_path / "gradflow.json").read_text())
    labels = {(p["layer"], p["direction"]) for p in saved["reaches"][0]["flow"]["profiles"]}
    assert labels == {(layer, way) for layer in (0, 1) for way in ("forward", "reverse")}
    assert all(reach["bound"] is None for reach in saved["reaches"])
    assert (tmp_path / "reach.svg").exists()


@every_cell_by_command
def test_spectrum_of_it(cell, tmp_path, capsys):
    options = ["--cell", PATHS[cell], *SMALL, "--length", "30", "--lags", "1,5", "--out", str(tmp_path)]
    assert spectrum.main(options) == 0
    saved = json.loads((tmp_path / "spectrum.json").read_text())
    assert [result["drive"] for result in saved["results"]] == ["noise", "zero"]
    assert all(result["predictions"] == [] for result in saved["results"])
    assert (tmp_path / "spectrum.svg").exists()


@every_cell_by_command
def test_shapes_of_it(cell, tmp_path, capsys):
    options = ["--cell", PATHS[cell], *SMALL, "--layers", "2", "--bidirectional", "--length", "5"]
    assert shapes.main([*options, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    whole, loop = Shapes.load(tmp_path / "shapes.json").descriptions
    parts = ("h", "c") if cell is PeepholeLSTM else ("h",)
    assert whole.states == dict.fromkeys(parts, ((4, 2, 4),))
    assert loop.states == dict.fromkeys(parts, ((2, 4),) * 4)
    assert (whole.out, whole.agrees) == ((5, 2, 8), True)
    names = [
        name
        for name, _ in Workload(cell=PATHS[cell], num_layers=2, bidirectional=True)
        .reference()
        .named_parameters()
    ]
    assert [parameter.name for parameter in whole.parameters] == names
    assert all(parameter.rows == () for parameter in whole.parameters)
