"""`python -m diagnostics.gradflow` as it is used: what it prints, what it writes, what it refuses."""

import csv
import itertools
import json
import math
import os
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from diagnostics import gradflow
from tests.diagnostics.conftest import status_of
from unrolled import Workload, gradient_flow
from unrolled.networks.textbook import networks

SMALL = ["--hidden", "16", "--input", "3", "--batch", "2", "--length", "61", "--lengths", "5,60"]
PLOTS = {f"{name}.{kind}" for name in ("reach", "lengths", "sensitivity") for kind in ("png", "svg")}
DATA = {"flow.csv", "sensitivity.csv", "lengths.csv", "gradflow.json"}
FILES = PLOTS | DATA


@pytest.fixture
def gf(tmp_path, capsys):
    """Run the command with small sizes; gives status, standard output and error, and the folder."""

    def run(*arguments, small=True, plots=False, out=tmp_path / "out"):
        options = [*(SMALL if small else []), *arguments, "--out", str(out), *([] if plots else ["--no-plots"])]
        status = gradflow.main(options)
        printed = capsys.readouterr()
        return status, printed.out, printed.err, out

    return run


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# What it shows and writes


def test_default_shows_a_row_for_each_textbook_network(gf):
    status, printed, errors, _ = gf()
    assert status == 0
    assert errors == ""
    for name in (
        "RNN tanh ",
        "orthogonal × 0.5",
        "orthogonal × 1 ",
        "orthogonal × 2",
        "relu, identity",
        "GRU",
        "LSTM ",
        "forget bias 3",
    ):
        assert name in printed
    for word in (
        "vanishing",
        "vanishes: ×",
        "explodes: ×",
        "holds: ×",
        "decades",
        "life,",
        "horizon,",
        "steps",
    ):
        assert word in printed
    assert re.search(r"^\d of 8 networks still hear 60 steps back: ", printed, re.MULTILINE)
    assert "untrained" in printed
    assert "--explain says what each column means, and more." in printed
    assert "T=5" in printed
    assert "T=60" in printed
    assert max(map(len, printed.splitlines())) <= 120


def test_numbers_in_the_table_and_files_are_the_librarys(gf):
    _, printed, _, out = gf()
    workload = Workload(cell="rnn_tanh", input_size=3, hidden_size=16, batch_size=2, seq_len=61)
    flow = pd.read_csv(out / "flow.csv")
    for network in networks(workload):
        profile = gradient_flow(network.module(), network.input()).profile(path="h")
        part = flow[(flow["network"] == network.name) & (flow["path"] == "h")].sort_values("lag")
        # The same operations in one process and one thread; reading decimals may cost a rounding of 2e-16.
        assert part["log10_norm"].to_numpy() == pytest.approx(profile.log10_norm, abs=1e-9)
        line = next(x for x in printed.splitlines() if re.match(rf"{re.escape(network.name)}\s+[-+0]", x))
        shown = line.removeprefix(network.name).split()
        for text, lag in zip(shown, (1, 10, 50, 60), strict=False):
            assert float(text) == pytest.approx(profile.relative(lag), abs=0.0501)
        assert float(shown[4]) == pytest.approx(profile.verdict.decades_per_step, abs=5.1e-4)
        assert shown[6].rstrip("+") == str(profile.verdict.horizon)
        assert shown[7] == profile.verdict.word


def test_float32_column_says_zero_where_ours_has_the_norm(gf):
    _, printed, _, out = gf("--lengths", "10,300", "--explain")
    for row in rows(out / "lengths.csv"):
        if row["network"] == "RNN orthogonal × 0.5" and row["length"] == "300":
            assert float(row["float32_first"]) == 0
            assert -150 < float(row["log10_first"]) < -80
    lines = printed.splitlines()
    start = next(k for k, line in enumerate(lines) if line.strip() == "RNN orthogonal × 0.5")
    assert lines[start + 1].split()[:2] == ["first", "step"]
    assert float(lines[start + 1].split()[-1]) < -80
    assert lines[start + 2].split()[0] == "float32"
    assert lines[start + 2].split()[-1] == "zero"
    assert "RNN orthogonal × 0.5: first step zero from T = 300" in " ".join(printed.split())
    assert "--explain" not in printed


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_byte_for_byte(gf, tmp_path):
    small = ("--cell", "gru", "--layers", "2", "--clip", "none", "--clip", "step:0.5")
    _, _, _, one = gf(*small, plots=True, out=tmp_path / "one")
    _, _, _, other = gf(*small, plots=True, out=tmp_path / "other")
    assert {path.name for path in one.iterdir()} == FILES | {"layers.png", "layers.svg"}
    for path in one.iterdir():  # the same operations in one process and one thread, and no date in any file
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name
    _, _, _, third = gf(*small, "--seed", "1", out=tmp_path / "third")
    assert (third / "flow.csv").read_bytes() != (one / "flow.csv").read_bytes()


def test_plots_and_data_are_replaced_and_nothing_else_is_touched(gf, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "flow.csv").write_text("old")
    gf("--cell", "rnn_tanh", plots=True)
    assert {path.name for path in out.iterdir()} == FILES | {"notes.txt", "previous"}
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "previous" / "flow.csv").read_text() == "old"
    assert (out / "flow.csv").read_text().startswith("network,clip,module,")


def test_a_failure_while_drawing_leaves_what_was_there(gf, tmp_path, monkeypatch):
    from unrolled.render import gradflow_plots

    out = tmp_path / "out"
    out.mkdir()
    (out / "flow.csv").write_text("old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gradflow_plots, "draw_gradflow", full_disk)
    status, printed, errors, _ = gf("--cell", "rnn_tanh", plots=True)
    assert status == 1
    assert "Reach: " in printed, "what cannot be written is shown"
    assert errors.startswith("python -m diagnostics.gradflow: out: ")
    assert "No space left on device" in errors
    assert str(out / "gradflow.partial.json") in errors
    assert len(errors.splitlines()) == 1
    assert {path.name for path in out.iterdir()} == {"flow.csv", "gradflow.partial.json"}
    assert (out / "flow.csv").read_text() == "old"


def test_json_is_versioned_with_the_environment_and_without_the_time(gf):
    _, _, _, out = gf("--cell", "lstm", "--forget-bias", "2", "--clip", "norm:1")
    content = json.loads((out / "gradflow.json").read_text())
    assert (content["format"], content["version"]) == ("unrolled.gradflow", 2)
    assert content["environment"]["torch"] == torch.__version__
    assert content["environment"]["load_average"] is None
    (network,) = content["networks"]
    assert network["forget_bias"] == 2
    assert network["workload"]["hidden_size"] == 16
    (reach,) = content["reaches"]
    assert {profile["path"] for profile in reach["flow"]["profiles"]} == {"h", "c"}
    assert len(content["lengths"]) == 2
    assert content["lengths"][0]["clip"] == "norm:1"


def test_quiet_and_no_plots_leave_results_and_data(gf):
    _, printed, errors, out = gf("--cell", "gru", "--quiet")
    assert "flow.csv" not in printed
    assert "GRU" in printed
    assert errors == ""
    assert {path.name for path in out.iterdir()} == DATA


# Options


def described(gf, *arguments):
    _, _, _, out = gf(*arguments, "--lengths", "5")
    content = json.loads((out / "gradflow.json").read_text())
    return content, pd.read_csv(out / "flow.csv")


def test_sizes_apply_to_the_textbook_and_to_one_network(gf):
    for one in ([], ["--cell", "gru"]):
        content, flow = described(gf, *one, "--layers", "2", "--batch", "5", "--length", "9")
        assert len(content["networks"]) == (1 if one else 9)
        for network in content["networks"]:
            sizes = network["workload"]
            assert (sizes["hidden_size"], sizes["input_size"], sizes["batch_size"]) == (16, 3, 5)
            assert (sizes["num_layers"], sizes["seq_len"]) == (2, 9)
        assert set(flow["layer"]) == {0, 1}
        assert flow["lag"].max() == 8


@pytest.mark.parametrize(
    ("arguments", "cell", "init"),
    [
        (["--gain", "1.5"], "rnn_tanh", "default"),
        (["--init", "normal:0.1"], "rnn_tanh", "normal:0.1"),
        (["--init", "chrono:30"], "lstm", "chrono:30"),
        (["--init", "chrono:30", "--cell", "gru"], "gru", "chrono:30"),
        (["--forget-bias", "1"], "lstm", "default"),
        (["--cell", "rnn_relu", "--init", "identity"], "rnn_relu", "identity"),
    ],
)
def test_what_describes_a_network_replaces_the_textbook(gf, arguments, cell, init):
    content, _ = described(gf, *arguments)
    (network,) = content["networks"]
    assert (network["workload"]["cell"], network["init"]) == (cell, init)


def test_gain_half_of_an_orthogonal_relu_network_is_bounded_by_half_a_step(gf):
    _, flow = described(gf, "--cell", "rnn_relu", "--init", "orthogonal", "--gain", "0.5", "--dtype", "float64")
    flow = flow.sort_values("lag")
    start = flow["log10_norm"].iloc[0]
    assert flow["log10_bound"].to_numpy() == pytest.approx(start + flow["lag"].to_numpy() * math.log10(0.5))


def test_bidirectional_runs_both_ways_and_loss_mean_reaches_both(gf):
    _, flow = described(gf, "--cell", "gru", "--bidirectional", "--loss", "mean")
    assert set(flow["direction"]) == {"forward", "reverse"}
    assert flow["log10_norm"].map(math.isfinite).all()
    _, last = described(gf, "--cell", "gru", "--bidirectional")
    reverse = last[(last["direction"] == "reverse") & (last["step"] < 60)]
    assert (reverse["log10_norm"] == -math.inf).all()  # no path leads there: zeros, and no rounding


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_dtype_is_that_of_the_network(gf, dtype):
    content, flow = described(gf, "--cell", "lstm", "--dtype", dtype)
    assert content["networks"][0]["workload"]["dtype"] == dtype
    assert flow["log10_norm"].map(math.isfinite).all()


def test_threads_are_torchs(gf):
    gf("--cell", "gru", "--threads", "2")
    assert torch.get_num_threads() == 2


def test_every_clip_asked_for_has_its_rows_in_order(gf):
    clips = ["none", "norm:0.5", "value:0.01", "tensor:0.1", "step:0.5", "auto:50"]
    asked = itertools.chain(*(("--clip", clip) for clip in clips))
    _, printed, _, out = gf("--cell", "rnn_tanh", "--explain", *asked)
    found = rows(out / "lengths.csv")
    assert [row["clip"] for row in found[:6]] == clips
    by_clip = {row["clip"]: row for row in found[6:]}
    assert 10 ** float(by_clip["norm:0.5"]["log10_parameters"]) == pytest.approx(0.5, rel=1e-4)
    assert float(by_clip["value:0.01"]["cosine"]) < 0.99
    assert by_clip["step:0.5"]["float32_parameters"] == ""
    flow = pd.read_csv(out / "flow.csv")
    assert set(flow["clip"]) == {"none", "step:0.5"}
    assert flow[flow["clip"] == "step:0.5"]["log10_norm"].max() <= math.log10(0.5) + 1e-6
    words = " ".join(printed.split())
    assert "norm:0.5 acted in 2 of 2 cases" in words
    assert "As norm:0.5 and value:0.01 and tensor:0.1 and auto:50 act on finished gradients" in words
    assert "step:0.5 bounds every step of the backward pass" in words


def test_a_network_that_overflows_is_a_row_and_a_reason(gf):
    status, printed, _, out = gf("--cell", "rnn_relu", "--init", "identity", "--gain", "4", "--length", "201",
                                 "--lengths", "10,150", plots=True)  # fmt: skip
    words = " ".join(printed.split())
    assert status == 0
    assert "NaN or inf" in printed
    assert "NaN/inf" in printed
    assert "The gradient of RNN relu, identity, gain 4 cannot be followed: NaN or inf." in words
    assert re.search("RNN relu, identity, gain 4 cannot be followed: .*got inf in 'RNN', layer 0", words)
    assert {path.name for path in out.iterdir()} >= {"gradflow.json", "lengths.png"}


# Other people's models


MODEL = """
class Model(nn.Module):
    def __init__(self, hidden=6):
        super().__init__()
        self.encoder = nn.LSTM(3, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)
    def forward(self, x):
        return self.head(self.encoder(x)[0][:, -1])
def alone():
    return Model()
def with_input():
    return Model(), torch.randn(2, 25, 3)
def feed_forward():
    return nn.Linear(3, 3)
def text():
    return "model"
def broken():
    raise RuntimeError("no weights here\\nsecond line")
def bad_head():
    model = Model()
    model.head = nn.Linear(4, 1)
    return model
def one_step():
    return Model(), torch.randn(2, 1, 3)
def two_inputs():
    class Two(Model):
        def forward(self, x, scale):
            return super().forward(scale * x)
    return Two(), (torch.randn(2, 9, 3), 0.5)
def one_length():
    class Fixed(Model):
        def forward(self, x):
            return super().forward(x.reshape(2, 25, 3))
    return Fixed(), torch.randn(2, 25, 3)
def nan():
    return Model(), torch.full((2, 9, 3), float("nan"))
def empty():
    return Model(), torch.zeros(0, 9, 3)
def wide():
    return Model(), torch.randn(2, 9, 4)
def double():
    return Model(), torch.randn(2, 9, 3).double()
def detached():
    model = Model()
    model.register_forward_hook(lambda m, i, o: o.detach())
    return model
number = 3
"""


def test_a_model_is_run_with_an_input_made_for_its_recurrent_module(gf, plugin):
    name = plugin(MODEL)
    status, printed, _, out = gf("--model", f"{name}:alone", "--batch", "4", "--length", "31",
                                 "--lengths", "5,20", small=False)  # fmt: skip
    assert status == 0
    flow = pd.read_csv(out / "flow.csv")
    assert set(flow["module"]) == {"encoder"}
    assert set(flow["path"]) == {"h", "c"}
    assert flow["lag"].max() == 30
    assert f"{name}:alone" in printed


def test_a_given_input_is_used_and_cut_for_the_lengths_it_has(gf, plugin):
    name = plugin(MODEL)
    status, _, _, out = gf("--model", f"{name}:with_input", small=False)
    assert status == 0
    assert pd.read_csv(out / "flow.csv")["lag"].max() == 24
    assert {row["length"] for row in rows(out / "lengths.csv")} == {"10", "20"}
    found = {row["clip"]: float(row["float32_parameters"]) for row in rows(out / "lengths.csv")[-2:]}
    ours = {row["clip"]: 10 ** float(row["log10_parameters"]) for row in rows(out / "lengths.csv")[-2:]}
    assert found == pytest.approx(ours, rel=1e-3)


def test_a_factory_draws_its_weights_from_the_seed(gf, plugin, tmp_path):
    name = plugin(MODEL)
    files = [
        gf("--model", f"{name}:alone", "--lengths", "5", "--seed", seed, small=False, out=tmp_path / f"{k}")[3]
        for k, seed in enumerate(("0", "0", "1"))
    ]
    zero, again, one = ((folder / "flow.csv").read_bytes() for folder in files)
    assert zero == again != one  # the same operations in one process and one thread


def test_a_checkpoint_fills_the_network_that_is_described(gf, tmp_path):
    torch.manual_seed(3)
    module = nn.GRU(3, 16)
    torch.save(module.state_dict(), tmp_path / "gru.pt")
    _, _, _, out = gf("--cell", "gru", "--checkpoint", str(tmp_path / "gru.pt"))
    workload = Workload(cell="gru", input_size=3, hidden_size=16, batch_size=2, seq_len=61)
    expected = gradient_flow(module, workload.input()).profile().log10_norm
    found = pd.read_csv(out / "flow.csv").sort_values("lag")["log10_norm"]
    assert found.to_numpy() == pytest.approx(expected, abs=1e-9)


def test_a_checkpoint_fills_a_given_model_also_from_inside_a_dict(gf, plugin, tmp_path):
    name = plugin(MODEL)
    import importlib

    gf("--model", f"{name}:alone", "--lengths", "5", small=False)
    state = importlib.import_module(name).Model().state_dict()
    for state_value in state.values():
        state_value.zero_()
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "zero.pt")
    _, _, _, out = gf(
        "--model", f"{name}:alone", "--checkpoint", str(tmp_path / "zero.pt"), "--lengths", "5", small=False
    )
    flow = pd.read_csv(out / "flow.csv")
    assert (flow["log10_norm"] == -math.inf).all()  # a head of zeros lets nothing through


SAVED = {
    "model_state_dict": lambda state: {
        "model_state_dict": state,
        "optimizer": {"state": {0: state}},
        "epoch": 3,
    },
    "model": lambda state: {"model": state, "config": {"hidden": 16}},
    "module.": lambda state: {f"module.{name}": value for name, value in state.items()},
    "_orig_mod.": lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
    "model.": lambda state: {"state_dict": {f"model.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("way", SAVED)
def test_a_checkpoint_fills_the_network_in_whatever_way_it_was_saved(gf, tmp_path, way):
    state = nn.GRU(3, 16).state_dict()
    state["weight_hh_l0"].zero_()
    torch.save(SAVED[way](state), tmp_path / "zero.pt")
    status, _, _, out = gf("--cell", "gru", "--checkpoint", str(tmp_path / "zero.pt"))
    assert status == 0
    module = nn.GRU(3, 16)
    module.load_state_dict(state)
    workload = Workload(cell="gru", input_size=3, hidden_size=16, batch_size=2, seq_len=61)
    expected = gradient_flow(module, workload.input()).profile().log10_norm
    found = pd.read_csv(out / "flow.csv").sort_values("lag")["log10_norm"]
    assert found.to_numpy() == pytest.approx(expected, abs=1e-9)


OWN_CELL = """
class Leaky(nn.Module):
    def __init__(self, input_size=3, hidden_size=6):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.w, self.u = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
    def forward(self, x, h):
        h = x.new_zeros(len(x), self.hidden_size) if h is None else h
        return 0.5 * h + 0.5 * torch.tanh(self.w(x) + self.u(h))
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.core = Leaky()
    def forward(self, x):
        h = None
        for x_t in x:
            h = self.core(x_t, h)
        return h
make = Model
"""


def test_cells_of_ones_own_in_a_model_are_named_by_cell(gf, plugin):
    name = plugin(OWN_CELL)
    own = ("--model", f"{name}:make", "--cell", f"{name}:Leaky")
    status, _, errors, out = gf(*own, "--length", "21", "--lengths", "5", small=False)
    assert (status, errors) == (0, "")
    flow = pd.read_csv(out / "flow.csv")
    assert set(flow["module"]) == {"core"}
    assert flow["lag"].max() == 20
    assert all(row["problem"] == "" for row in rows(out / "lengths.csv"))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (None, "model: .*got Model"),
        (":make_", "cell .*:make_: .*'make_'"),
        ("no_such_module:Cell", "cell no_such_module:Cell: .*no_such_module"),
        (":number", "cells: .*got 3"),
    ],
)
def test_what_is_no_cell_of_the_model_is_one_line(gf, plugin, cell, message):
    name = plugin(OWN_CELL + "number = 3\n")
    path = [] if cell is None else ["--cell", f"{name}{cell}" if cell.startswith(":") else cell]
    status, printed, errors, _ = gf("--model", f"{name}:make", *path, small=False)
    assert (status, printed, len(errors.splitlines())) == (2, "", 1)
    assert re.search(message, errors)


def test_an_input_that_cannot_be_cut_gives_the_reach_and_no_length_table(gf, plugin):
    name = plugin(MODEL)
    status, printed, _, out = gf("--model", f"{name}:two_inputs", small=False, plots=True)
    assert status == 0
    assert "encoder.l0" in printed
    assert "Length:" not in printed
    assert pd.read_csv(out / "flow.csv")["lag"].max() == 8
    assert rows(out / "lengths.csv") == []
    assert {path.name for path in out.iterdir()} == FILES - {"lengths.png", "lengths.svg"}


def test_a_model_that_runs_at_one_length_alone_keeps_its_reach(gf, plugin):
    name = plugin(MODEL)
    status, printed, _, out = gf("--model", f"{name}:one_length", "--lengths", "10,25", small=False)
    assert status == 0
    assert "failed" in printed
    assert "at T = 10: model" in printed
    assert pd.read_csv(out / "flow.csv")["lag"].max() == 24
    assert [row["problem"] == "" for row in rows(out / "lengths.csv")] == [False, False, True, True]


def test_a_checkpoint_with_nan_in_it_is_a_row_that_says_where(gf, tmp_path):
    state = nn.GRU(3, 16).state_dict()
    state["weight_hh_l0"][0, 0] = math.nan
    torch.save(state, tmp_path / "nan.pt")
    status, printed, _, _ = gf("--cell", "gru", "--checkpoint", str(tmp_path / "nan.pt"))
    assert status == 0
    assert re.search(r"got nan in 'GRU', layer 0 \(forward\), first at step 0", " ".join(printed.split()))


def test_a_given_model_is_moved_to_the_dtype_asked_for(gf, plugin):
    name = plugin(MODEL)
    for factory in ("with_input", "alone"):
        status, _, _, out = gf(
            "--model", f"{name}:{factory}", "--dtype", "float64", "--lengths", "9", small=False
        )
        assert status == 0
        (row, *_) = rows(out / "lengths.csv")
        plain, ours = math.log10(float(row["float32_parameters"])), float(row["log10_parameters"])
        assert plain == pytest.approx(ours, abs=1e-5)
        assert plain != ours  # a float32 beside a float64: equal once in 2^29


# What it refuses


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("evil",))


def write_checkpoints(folder):
    torch.save(nn.GRU(3, 16).state_dict(), folder / "gru.pt")
    torch.save(nn.GRU(3, 5).state_dict(), folder / "narrow.pt")
    torch.save([1, 2], folder / "list.pt")
    torch.save({"weight": Evil()}, folder / "evil.pt")
    (folder / "text.pt").write_text("hello")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--clip nrom:1", "clip: .*got 'nrom'"),
        ("--clip norm:0", r"clip: .*got 0\.0"),
        ("--clip value:-1", r"clip: .*got -1\.0"),
        ("--clip norm:one", "clip: .*got 'one'"),
        ("--clip norm", "clip: .*norm, got None"),
        ("--length 1", "--length: .*got T = 1"),
        ("--length 0", "--length: .*got 0"),
        ("--lengths 20,10", "lengths: .*got 20,10"),
        ("--lengths 1,10", "lengths: .*got T = 1"),
        ("--lengths ten", "--lengths: .*got 'ten'"),
        ("--hidden 0", "--hidden: .*got 0"),
        ("--layers 0", "--layers: .*got 0"),
        ("--batch -1", "--batch: .*got -1"),
        ("--threads 0", "--threads: .*got 0"),
        ("--seed -1", "--seed: .*got -1"),
        ("--gain 0", r"gain: .*got 0\.0"),
        ("--gain nan", "gain: .*got nan"),
        ("--init glorot", "init: .*got 'glorot'"),
        ("--init chrono:200 --cell rnn_tanh", "init: .*got rnn_tanh"),
        ("--forget-bias 1 --cell gru", "forget bias: .*got gru"),
        ("--device tpu", "device: .*got 'tpu'"),
        ("--device cuda:99", "device: .*cuda:99"),
        ("--model mine", "model: .*got 'mine'"),
        ("--model no_such_module:make", "model no_such_module:make: .*ModuleNotFoundError"),
        ("--model {plugin}:missing", "model .*:missing: .*Model, alone"),
        ("--model {plugin}:number", "model .*:number: .*got int"),
        ("--model {plugin}:broken", "model .*:broken: .*got RuntimeError: no weights here"),
        ("--model {plugin}:text", "model .*:text: .*got str"),
        ("--model {plugin}:feed_forward", "model: .*got Linear"),
        ("--model {plugin}:bad_head", r"model.*\(8, 201, 3\), got RuntimeError"),
        ("--model {plugin}:one_step", "inputs: .*got T = 1"),
        ("--model {plugin}:nan", "inputs: .*got NaN or inf"),
        ("--model {plugin}:empty", r"inputs: .*got \(0, 9, 3\)"),
        ("--model {plugin}:wide", r"input of 'encoder': .*got \(2, 9, 4\)"),
        ("--model {plugin}:double", r"input of 'encoder': .*float32.*got torch\.float64"),
        ("--model {plugin}:detached", "loss: .*without a gradient"),
        ("--model {plugin}:alone --loss mean", "loss: .*mean"),
        ("--model {plugin}:alone --cell gru", "model: .*got --cell"),
        ("--model {plugin}:alone --hidden 3", "model: .*got --hidden"),
        ("--model {plugin}:with_input --length 9", "--model: .*--length.*:with_input"),
        ("--model {plugin}:with_input --lengths 9,90", "lengths: .*25.*got 90"),
        ("--checkpoint missing.pt", r"checkpoint: .*got missing\.pt"),
        ("--cell gru --input 3 --hidden 16 --checkpoint narrow.pt", r"checkpoint: .*got weight_ih_l0 of shape \(15, 3\) for \(48, 3\)"),
        ("--cell gru --checkpoint list.pt", r"checkpoint: .*list\.pt"),
        ("--cell gru --checkpoint text.pt", r"checkpoint: .*text\.pt"),
        ("--cell gru --checkpoint evil.pt", r"checkpoint: .*mkdir in evil\.pt"),
        ("--cell gru --layers 2 --input 3 --hidden 16 --checkpoint gru.pt", r"checkpoint: .*got no weight_ih_l1 in gru\.pt"),
        ("--model {plugin}:alone --checkpoint gru.pt", r"checkpoint: .*got no encoder\.weight_ih_l0 in gru\.pt"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_2_and_costs_nothing(gf, plugin, tmp_path, arguments, message):
    write_checkpoints(tmp_path)
    name = plugin(MODEL)
    out = tmp_path / "out"
    out.mkdir()
    (out / "flow.csv").write_text("old")
    status, printed, errors, _ = gf(*arguments.format(plugin=name).split(), small=False)
    assert re.search(message, errors)
    assert errors.startswith("python -m diagnostics.gradflow: ")
    assert len(errors.splitlines()) == 1
    assert (status, printed) == (2, "")
    assert [path.name for path in out.iterdir()] == ["flow.csv"]
    assert (out / "flow.csv").read_text() == "old"
    assert not Path("evil").exists()


def test_an_out_that_cannot_be_written_is_refused_before_anything_is_computed(gf, tmp_path, monkeypatch):
    from unrolled.gradients import study

    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(study, "measure", lambda *_, **__: pytest.fail("computed first"))
    status, _, errors, _ = gf(out=tmp_path / "file" / "out")
    assert status == 2
    assert re.search("out: .*got .*file/out", errors)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("arguments", [["--clop", "1"], ["--hidden", "many"], ["--cell", "rnn"], ["--gain"]])
def test_a_mistyped_option_is_one_line_and_status_2(capsys, arguments):
    assert status_of(gradflow, arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_help_lists_every_option_of_the_command(capsys):
    with pytest.raises(SystemExit) as raised:
        gradflow.main(["--help"])
    assert raised.value.code == 0
    shown = capsys.readouterr().out
    options = (
        "cell hidden layers input batch length lengths gain init forget-bias loss clip bidirectional dtype"
    )
    options += " device seed threads model checkpoint out quiet no-plots"
    for option in options.split():
        assert f"--{option}" in shown


@pytest.mark.cuda
def test_the_command_runs_on_cuda(gf):
    status, printed, _, _ = gf("--device", "cuda")
    assert status == 0
    assert "vanishing" in printed
