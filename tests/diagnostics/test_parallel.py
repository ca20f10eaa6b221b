"""`python -m diagnostics.parallel` as it is used: what it prints, what it writes, what it refuses."""

import pytest
import torch
from torch import nn

from diagnostics import parallel
from tests.diagnostics.conftest import status_of
from unrolled.over_time.record import Parallel

SMALL = ["--lengths", "20,40,80", "--hidden", "6", "--input", "3"]
FILES = {
    "parallel.json", "iterations.csv", "networks.csv", "iterations.png", "iterations.svg", "exponent.png",
    "exponent.svg",
}  # fmt: skip


def test_random_networks_and_torchs_cells_in_one_command(tmp_path, capsys):
    assert parallel.main([*SMALL, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    words = " ".join(printed.out.split())
    for said in (
        "Newton's iterations over all steps at once; 6 hidden units",
        "of 8 networks can be run in parallel over time; for ",
        "The Jacobians of 80 steps take up to",
        "RNN tanh, gain 0.5",
        "--explain says",
    ):
        assert said in words
    assert printed.err == ""
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == FILES
    found = Parallel.load(tmp_path / "parallel.json")
    assert [each.network for each in found.measured][-3:] == ["RNN tanh", "GRU", "LSTM"]
    assert found.lengths == (20, 40, 80)


def test_one_network_as_it_is_described(tmp_path, capsys):
    options = ["--cell", "gru", "--layers", "2", "--bidirectional", "--tolerance", "1e-10", "--limit", "30"]
    assert parallel.main([*SMALL, *options, "--no-plots", "--explain", "--out", str(tmp_path)]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "Parallel over time: yes, in" in words
    assert "from a first guess of 0 to a residual of 1e-10, in float64" in words
    found = Parallel.load(tmp_path / "parallel.json")
    assert (found.tolerance, found.limit) == (1e-10, 30)


def test_a_checkpoint_decides_about_the_network(tmp_path, capsys):
    module = nn.RNN(3, 6)
    with torch.no_grad():
        module.weight_hh_l0.mul_(0)  # no memory: every state follows from its input
    torch.save(module.state_dict(), tmp_path / "best.pt")
    options = ["--cell", "rnn_tanh", "--checkpoint", str(tmp_path / "best.pt"), "--no-plots"]
    assert parallel.main([*SMALL, *options, "--out", str(tmp_path / "out")]) == 0
    found = Parallel.load(tmp_path / "out" / "parallel.json")
    assert found.measured[0].full.counts == (1, 1, 1)
    assert found.exponent.value == -float("inf")
    assert "the largest exponent, −inf, says so too" in " ".join(capsys.readouterr().out.split())


def test_a_trained_model_of_ones_own_with_its_checkpoint(tmp_path, capsys, plugin):
    """A cell in a loop below a head, and weights that the checkpoint of a trainer brings."""
    name = plugin("""
import torch
from torch import nn
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRUCell(3, 6), nn.Linear(6, 1)
    def forward(self, x):
        h = x.new_zeros(x.shape[1], 6)
        for x_t in x:
            h = self.cell(x_t, h)
        return self.head(h)
def make():
    torch.manual_seed(0)
    return Model(), torch.randn(80, 2, 3, generator=torch.Generator().manual_seed(1))
""")
    options = ["--model", f"{name}:make", "--lengths", "20,80", "--no-plots"]
    assert parallel.main([*options, "--out", str(tmp_path / "one")]) == 0
    first = Parallel.load(tmp_path / "one" / "parallel.json")
    assert first.measured[0].system == "cell.l0"
    assert first.measured[0].predicted
    assert "Parallel over time: yes, in" in " ".join(capsys.readouterr().out.split())

    cell = nn.GRUCell(3, 6)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(0)
    state = {f"cell.{key}": value for key, value in cell.state_dict().items()}
    state |= {"head.weight": torch.zeros(1, 6), "head.bias": torch.zeros(1)}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "best.pt")
    assert (
        parallel.main([*options, "--checkpoint", str(tmp_path / "best.pt"), "--out", str(tmp_path / "two")])
        == 0
    )
    second = Parallel.load(tmp_path / "two" / "parallel.json")
    assert second.measured[0].full.counts == (0, 0)  # all states are 0, as in the first guess
    assert second.exponent.value == pytest.approx(-0.6931, abs=1e-3)  # h' = h / 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--lengths", "20,10"], "lengths: expected increasing numbers of steps"),
        (["--lengths", "ten"], "--lengths: expected numbers with commas in between"),
        (["--tolerance", "0"], "--tolerance: expected a number above 0, got '0'"),
        (["--limit", "0"], "--limit: expected an integer of at least 1"),
        (["--cell", "gru", "--forget-bias", "1"], "forget bias: expected cell lstm, got gru"),
        (["--cell", "nowhere:Cell"], "nowhere"),
        (["--device", "cuda:99"], "device"),
        (["--hidden", "2000000"], "expected a network that fits"),
    ],
)
def test_what_cannot_be_tried_is_one_line(wrong, words, capsys):
    assert status_of(parallel, [*SMALL, *wrong, "--out", "out"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert words in line
