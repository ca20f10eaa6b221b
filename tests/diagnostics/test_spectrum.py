"""`python -m diagnostics.spectrum` as it is used: what it prints, what it writes, what it refuses."""

import contextlib
import io
import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from diagnostics import plots, spectrum
from tests.diagnostics.conftest import status_of
from tests.diagnostics.test_gradflow import OWN_CELL
from tests.processes import python
from unrolled import Workload, jacobian_singular_values, lyapunov_spectrum
from unrolled.networks.textbook import networks

SMALL = ["--hidden", "8", "--input", "3", "--batch", "2", "--length", "101"]
DATA = {"spectrum.csv", "singular_values.csv", "gain.csv", "spectrum.json"}
PLOTS = {f"{name}.{kind}" for name in ("spectrum", "singular_values", "gain") for kind in ("png", "svg")}
TEXTBOOK = [*SMALL, "--lags", "1,5,20", "--gains", "0.5,1.5"]


@pytest.fixture
def sp(tmp_path, capsys):
    """Run the command with small sizes; gives status, standard output and error, and the folder."""

    def run(*arguments, small=True, plots=False, out=tmp_path / "out"):
        options = [*(SMALL if small else []), *arguments, "--out", str(out), *([] if plots else ["--no-plots"])]
        status = spectrum.main(options)
        printed = capsys.readouterr()
        return status, printed.out, printed.err, out

    return run


@pytest.fixture(scope="module")
def textbook(tmp_path_factory):
    """All of it once: status, what was printed, and the folder."""
    out = tmp_path_factory.mktemp("spectrum")
    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        status = spectrum.main([*TEXTBOOK, "--out", str(out)])
    return SimpleNamespace(returncode=status, stdout=printed.getvalue(), stderr=errors.getvalue()), out


# What it shows and writes


def test_default_shows_every_textbook_network_with_noise_and_without_input(textbook):
    done, out = textbook
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in out.iterdir()} == DATA | PLOTS
    for network in networks(Workload(cell="rnn_tanh")):
        line = next(x for x in done.stdout.splitlines() if x.startswith(f"{network.name} "))
        assert " noise " in line
    for words in (
        "Spectrum: Lyapunov exponents",
        "Directions that carry 1/1000 after k steps",
        "Largest exponent over gain, nats per step: RNN tanh, Gaussian, 8 hidden units, untrained",
        "Gaussian, gain 1.5 ",
        " of 8 networks ",
    ):
        assert words in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    content = json.loads((out / "spectrum.json").read_text())
    assert [(each["network"], each["drive"]) for each in content["results"]] == [
        (network.name, drive) for network in networks(Workload(cell="rnn_tanh")) for drive in ("noise", "zero")
    ]


def test_numbers_in_the_files_are_the_librarys(textbook):
    _, out = textbook
    found, values = pd.read_csv(out / "spectrum.csv"), pd.read_csv(out / "singular_values.csv")
    workload = Workload(cell="rnn_tanh", input_size=3, hidden_size=8, batch_size=2, seq_len=101)
    for network in networks(workload)[::3]:
        module, inputs = network.module(), network.input()
        # The same operations in one process and one thread; reading decimals may cost a rounding of 2e-16.
        exponents = lyapunov_spectrum(module, inputs, warm_up=20).part().values
        part = found[(found["network"] == network.name) & (found["drive"] == "noise")]
        assert part["exponent"].to_numpy() == pytest.approx(exponents.ravel(), abs=1e-12)
        singular = jacobian_singular_values(module, inputs[:, :1], (1, 5, 20)).part().log10
        part = values[(values["network"] == network.name) & (values["drive"] == "noise")]
        assert part["log10_singular_value"].to_numpy() == pytest.approx(singular.ravel(), abs=1e-12)


def test_numbers_in_the_table_are_those_of_the_files(textbook):
    done, out = textbook
    found = pd.read_csv(out / "spectrum.csv")
    line = next(x for x in done.stdout.splitlines() if x.startswith("LSTM  "))
    drive, verdict, largest, spread, _, above, size, total = line[len("LSTM") :].split()[:8]
    assert verdict == "forgetting"
    part = found[(found["network"] == "LSTM") & (found["drive"] == drive)]
    first = part[part["index"] == 1]["exponent"]
    assert float(largest) == pytest.approx(first.mean(), abs=5.1e-4)
    assert float(spread) == pytest.approx(first.std(), abs=5.1e-4)
    assert float(above) == (part["exponent"] > 0).groupby(part["sample"]).sum().mean()  # a half of an integer
    assert int(size) == 16
    assert float(total) == pytest.approx(part.groupby("sample")["exponent"].sum().mean(), abs=0.051)


def test_theory_without_input_is_the_fixed_point_and_is_met(textbook):
    """Reference 6: at a fixed point the exponents are the log moduli of the Jacobian's eigenvalues."""
    _, out = textbook
    content = json.loads((out / "spectrum.json").read_text())
    met = 0
    for each in content["results"]:
        if each["drive"] == "zero" and each["predictions"]:
            (theory,) = each["predictions"]
            largest = np.mean([sample[0] for sample in each["spectrum"]["parts"][0]["values"]])
            if theory["theory"] == "fixed point":
                assert largest == pytest.approx(theory["exponent"], abs=0.03)  # after 80 steps
                met += 1
    assert met >= 5


@pytest.mark.slow
def test_saved_results_are_drawn_again_byte_for_byte_and_say_the_same(textbook, tmp_path, capsys):
    done, out = textbook
    assert plots.main([str(out), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[:-6] == done.stdout.splitlines()[: len(printed.splitlines()) - 6]
    assert {path.name for path in tmp_path.iterdir()} == PLOTS
    for name in PLOTS:  # decimals are read back as the float they were, and no file has a date
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_the_same_seed_gives_the_same_data_byte_for_byte(textbook, sp, tmp_path):
    _, out = textbook
    status, _, _, again = sp(*TEXTBOOK[len(SMALL) :], "--cell", "gru", "--quiet", out=tmp_path / "one")
    assert status == 0
    _, _, _, other = sp(*TEXTBOOK[len(SMALL) :], "--cell", "gru", "--quiet", out=tmp_path / "other")
    _, _, _, third = sp(*TEXTBOOK[len(SMALL) :], "--cell", "gru", "--seed", "1", out=tmp_path / "third")
    for name in DATA:  # the same operations in one process and one thread
        assert (again / name).read_bytes() == (other / name).read_bytes(), name
        assert (again / name).read_bytes() != (third / name).read_bytes(), name
    # Among other networks, and in another process: to the roundings of float32, which a GRU does not amplify.
    done = python(
        "-m", "diagnostics.spectrum", *TEXTBOOK, "--cell", "gru", "--no-plots", "--out", tmp_path / "apart"
    )
    assert (done.returncode, done.stderr) == (0, "")
    ours, among, apart = (pd.read_csv(folder / "spectrum.csv") for folder in (again, out, tmp_path / "apart"))
    among = among[among["network"] == "GRU"].reset_index(drop=True)
    for theirs in (among, apart):
        pd.testing.assert_frame_equal(ours, theirs, rtol=1e-4, atol=1e-6)


def test_files_are_replaced_together_and_nothing_else_is_touched(sp, tmp_path, monkeypatch):
    from unrolled.render import spectrum_plots

    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "spectrum.csv").write_text("old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spectrum_plots, "draw_spectrum", full_disk)
    status, _, errors, _ = sp("--cell", "rnn_tanh", plots=True)
    assert status == 1
    assert re.search("out: .*No space left on device", errors)
    assert len(errors.splitlines()) == 1
    assert {path.name for path in out.iterdir()} == {"notes.txt", "spectrum.csv", "spectrum.partial.json"}
    assert (out / "spectrum.csv").read_text() == "old"
    assert sp("--cell", "rnn_tanh")[0] == 0
    assert {path.name for path in out.iterdir()} == (DATA - {"gain.csv"}) | {"notes.txt", "previous"}
    assert (out / "previous" / "spectrum.csv").read_text() == "old"
    assert (out / "spectrum.csv").read_text().startswith("network,drive,module,")


def test_json_is_versioned_with_the_environment_and_without_the_time(sp):
    _, printed, errors, out = sp("--cell", "lstm", "--forget-bias", "2", "--k", "5", "--quiet")
    content = json.loads((out / "spectrum.json").read_text())
    assert (content["format"], content["version"]) == ("unrolled.spectrum", 2)
    assert content["environment"]["torch"] == torch.__version__
    assert content["environment"]["load_average"] is None
    assert content["networks"][0]["forget_bias"] == 2
    assert content["settings"]["k"] == 5
    assert "spectrum.csv" not in printed
    assert errors == ""


# Options


def content_of(sp, *arguments):
    status, printed, errors, out = sp(*arguments)
    assert status == 0, errors
    return json.loads((out / "spectrum.json").read_text()), printed


def test_k_lags_and_warm_up_are_the_librarys(sp):
    content, _ = content_of(
        sp, "--cell", "gru", "--k", "3", "--lags", "2,7", "--warm-up", "41", "--drive", "noise"
    )
    (result,) = content["results"]
    (system,) = result["spectrum"]["parts"]
    assert np.shape(system["values"]) == (2, 3)
    assert (system["warm_up"], system["times"][-1]) == (41, 60)
    assert result["singular"]["parts"][0]["lags"] == [2, 7]


def test_qr_at_every_step_gives_what_auto_gives(sp):
    auto, _ = content_of(sp, "--cell", "gru", "--drive", "noise")
    each, _ = content_of(sp, "--cell", "gru", "--drive", "noise", "--qr-every", "1")
    one, other = (each["results"][0]["spectrum"]["parts"][0]["values"] for each in (auto, each))
    assert np.array(one) == pytest.approx(np.array(other), abs=1e-6)


def test_every_layer_and_the_stack_have_a_row(sp):
    content, printed = content_of(sp, "--cell", "gru", "--layers", "2", "--drive", "zero")
    names = [re.match(r"GRU\.(\w+) ", line) for line in printed.splitlines()]
    assert [name[1] for name in names if name] == ["l0", "l1", "stack"] * 3  # of two tables, and in words
    assert [each["system"] for each in content["results"][0]["predictions"]] == [
        "GRU.l0",
        "GRU.l1",
        "GRU.stack",
    ]


def test_bidirectional_networks_have_a_row_for_each_direction_and_no_stack_above_one_layer(sp):
    content, printed = content_of(
        sp, "--cell", "rnn_tanh", "--bidirectional", "--layers", "2", "--drive", "noise"
    )
    assert "RNN.l1.reverse" in printed
    assert [each["system"]["layer"] for each in content["results"][0]["spectrum"]["parts"]] == [0, 0, 1, 1]
    assert content["results"][0]["spectrum"]["notes"]
    assert content["results"][0]["spectrum"]["notes"][0].rstrip(".") in " ".join(printed.split())


def test_zero_input_of_a_scaled_orthogonal_network_has_all_exponents_at_ln_g(sp):
    content, printed = content_of(
        sp, "--cell", "rnn_relu", "--init", "identity", "--gain", "0.5", "--drive", "zero", "--dtype", "float64"
    )
    values = np.array(content["results"][0]["spectrum"]["parts"][0]["values"])
    # A mean of 80 logarithms of 0.5, in float64.
    assert values == pytest.approx(np.full(values.shape, math.log(0.5)), abs=1e-12)
    assert "fixed point" in printed


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_dtype_is_that_of_the_network(sp, dtype):
    content, _ = content_of(sp, "--cell", "lstm", "--dtype", dtype, "--drive", "noise")
    assert content["networks"][0]["workload"]["dtype"] == dtype


def test_gains_multiply_the_weights_of_the_network_described(sp):
    """Without input and biases the exponent of a relu network that lives is ln g exactly."""
    content, printed = content_of(
        sp, "--cell", "rnn_relu", "--init", "identity", "--gains", "0.25,0.5,1", "--drive", "zero",
        "--dtype", "float64",
    )  # fmt: skip
    (curve,) = content["curves"]
    for gain, exponents in zip(curve["gains"], curve["exponents"], strict=True):
        assert np.array(exponents) == pytest.approx(math.log(gain), abs=1e-6)
    assert "Largest exponent over gain, nats per step: RNN relu, identity, 8 hidden units, untrained" in printed
    assert "identity, gain 0.25 " in printed


def test_no_gains_means_no_curve(sp):
    content, printed = content_of(sp, "--gains", "none", "--k", "1", "--drive", "noise", "--lags", "1")
    assert content["curves"] == []
    assert "over gain" not in printed


def test_a_network_that_overflows_is_a_row_and_a_reason(sp):
    status, printed, _, out = sp("--cell", "rnn_relu", "--init", "identity", "--gain", "9", plots=True)
    assert status == 0
    assert "NaN/inf" in printed
    words = " ".join(printed.split())
    assert re.search("No spectrum of RNN relu, identity, gain 9 with noise: .*finite", words)
    assert {path.name for path in out.iterdir()} == {"spectrum.json"}


def test_threads_are_torchs(sp):
    sp("--cell", "rnn_tanh", "--threads", "2", "--drive", "noise", "--k", "1")
    assert torch.get_num_threads() == 2


# Other people's models


MODEL = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(3, 6, batch_first=True)
        self.head = nn.Linear(6, 1)
    def forward(self, x):
        return self.head(self.encoder(x)[0][:, -1])
def alone():
    return Model()
def with_input():
    return Model(), torch.randn(2, 25, 3)
def tokens():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn = nn.Embedding(7, 3), nn.GRU(3, 5, batch_first=True)
        def forward(self, x):
            return self.rnn(self.embedding(x))[0]
    return Tokens(), torch.randint(0, 7, (2, 30))
def bad_head():
    model = Model()
    model.head = nn.Linear(4, 1)
    return model
def one_step():
    return Model(), torch.randn(2, 1, 3)
def feed_forward():
    return nn.Linear(3, 3)
def nan():
    model = Model()
    with torch.no_grad():
        model.encoder.weight_hh_l0[0, 0] = float("nan")
    return model
"""


def test_a_model_is_run_with_noise_and_without_input(sp, plugin):
    name = plugin(MODEL)
    status, printed, errors, out = sp("--model", f"{name}:alone", "--length", "61", "--batch", "3", small=False)
    assert (status, errors) == (0, "")
    found = pd.read_csv(out / "spectrum.csv")
    assert set(found["module"]) == {"encoder"}
    assert set(found["drive"]) == {"noise", "zero"}
    assert set(found["sample"]) == {0, 1, 2}
    assert "encoder.l0" in printed


def test_a_given_input_is_used_and_default_lags_end_where_it_does(sp, plugin):
    name = plugin(MODEL)
    for factory, longest in (("with_input", 20), ("tokens", 20)):
        status, printed, errors, out = sp("--model", f"{name}:{factory}", small=False)
        assert (status, errors) == (0, "")
        found = pd.read_csv(out / "singular_values.csv")
        assert set(found["drive"]) == {"given"}
        assert found["lag"].max() == longest
        assert " given " in printed


def test_cells_of_ones_own_in_a_model_are_named_by_cell(sp, plugin):
    name = plugin(OWN_CELL)
    own = ("--model", f"{name}:make", "--cell", f"{name}:Leaky", "--length", "41")
    status, _, errors, out = sp(*own, "--drive", "noise", "--lags", "1,5", small=False)
    assert (status, errors) == (0, "")
    (result,) = json.loads((out / "spectrum.json").read_text())["results"]
    assert result["problem"] is None
    assert np.array(result["spectrum"]["parts"][0]["values"]).shape == (4, 6)  # samples, units
    assert [len(part["lags"]) for part in result["singular"]["parts"]] == [2]


def test_a_checkpoint_fills_the_network_that_is_described(sp, tmp_path):
    torch.manual_seed(3)
    module = nn.GRU(3, 8)
    torch.save(module.state_dict(), tmp_path / "gru.pt")
    content, _ = content_of(sp, "--cell", "gru", "--checkpoint", str(tmp_path / "gru.pt"))
    workload = Workload(cell="gru", input_size=3, hidden_size=8, batch_size=2, seq_len=101)
    expected = lyapunov_spectrum(module, workload.input(), warm_up=20).part().values
    assert np.array(content["results"][0]["spectrum"]["parts"][0]["values"]) == pytest.approx(
        expected, abs=1e-12
    )
    assert content["results"][1]["predictions"][0]["theory"] == "fixed point"


# What it refuses


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--k 0", "--k: .*got 0"),
        ("--cell gru --hidden 8 --k 9", "k: .*8.*got 9"),
        ("--cell gru --length 9 --warm-up 9", "inputs: .*got T = 9"),
        ("--warm-up -1", "--warm-up: .*got -1"),
        ("--cell gru --qr-every 0", "--qr-every: .*got 0"),
        ("--qr-every often", "--qr-every: .*got 'often'"),
        ("--lags ten", "--lags: .*got 'ten'"),
        ("--cell gru --length 9 --lags 1,50", "lags: .*got 50"),
        ("--cell gru --lags 0", "lags: .*got 0"),
        ("--gains 1,0.5", r"gains: .*got 1,0\.5"),
        ("--gains 1", "gains: .*got 1"),
        ("--gains 0,1", "gains: .*got 0"),
        ("--gains nan,1", "gains: .*got nan"),
        ("--gains many", "--gains: .*got 'many'"),
        ("--cell gru --length 1", "inputs: .*got T = 1"),
        ("--hidden 0", "--hidden: .*got 0"),
        ("--threads 0", "--threads: .*got 0"),
        ("--seed -1", "--seed: .*got -1"),
        ("--gain 0", r"gain: .*got 0\.0"),
        ("--init glorot", "init: .*got 'glorot'"),
        ("--device tpu", "device: .*got 'tpu'"),
        ("--model {plugin}:feed_forward", "model: .*got Linear"),
        ("--model {plugin}:bad_head", r"model .*\(4, 501, 3\), got RuntimeError"),
        ("--model {plugin}:one_step", "inputs: .*got T = 1"),
        ("--model {plugin}:alone --gains 1,2", "--gains: .*got .*:alone"),
        ("--model {plugin}:alone --cell gru", "--model: .*got --cell"),
        ("--model {plugin}:with_input --drive noise", "drive: .*got noise"),
        ("--model {plugin}:tokens --drive zero", "drive: .*got .*:tokens"),
        ("--checkpoint missing.pt", r"checkpoint: .*got missing\.pt"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_2_and_costs_nothing(sp, plugin, tmp_path, arguments, message):
    name = plugin(MODEL)
    out = tmp_path / "out"
    out.mkdir()
    (out / "spectrum.csv").write_text("old")
    status, printed, errors, _ = sp(*arguments.format(plugin=name).split(), small=False)
    assert re.search(message, errors)
    assert errors.startswith("python -m diagnostics.spectrum: ")
    assert len(errors.splitlines()) == 1
    assert (status, printed) == (2, "")
    assert [path.name for path in out.iterdir()] == ["spectrum.csv"]


def test_weights_that_are_not_finite_are_named_in_one_line(sp, plugin):
    name = plugin(MODEL)
    status, printed, errors, _ = sp("--model", f"{name}:nan", small=False)
    said = " ".join((printed + errors).split())
    assert status in (0, 2)
    assert "nan" in said.lower()
    assert "finite" in said
    assert "Traceback" not in said


def test_an_out_that_cannot_be_written_is_refused_before_anything_is_computed(sp, tmp_path, monkeypatch):
    from unrolled.spectrum import study

    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(study, "measure_study", lambda *_, **__: pytest.fail("computed first"))
    status, _, errors, _ = sp(out=tmp_path / "file" / "out")
    assert status == 2
    assert re.search("out: .*got .*file/out", errors)


@pytest.mark.parametrize("arguments", [["--legs", "1"], ["--k", "all"], ["--drive", "sine"], ["--cell", "rnn"]])
def test_a_mistyped_option_is_one_line_and_status_2(capsys, arguments):
    assert status_of(spectrum, arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


DAMAGE = {
    "no networks": lambda content: content.pop("networks"),
    "an unknown setting": lambda content: content["settings"].update(often=1),
    "a drive": lambda content: content["results"][0].pop("drive"),
    "values cut short": lambda content: content["results"][0]["spectrum"]["parts"][0]["values"][0].pop(),
    "a word": lambda content: content["results"][0]["singular"]["parts"][0]["log10"][0][0].insert(0, "x"),
    "a curve cut short": lambda content: content["curves"][0]["exponents"].pop(),
    "another swept network": lambda content: content["curves"][0].update(network="else"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_record_is_one_line_and_status_2(textbook, tmp_path, capsys, damage):
    _, out = textbook
    content = json.loads((out / "spectrum.json").read_text())
    damage(content)
    (tmp_path / "spectrum.json").write_text(json.dumps(content))
    assert plots.main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert re.search(r"results: .*spectrum\.json", printed.err)
    assert (len(printed.err.splitlines()), printed.out) == (1, "")


def test_help_lists_every_option_of_the_command(capsys):
    with pytest.raises(SystemExit):
        spectrum.main(["--help"])
    shown = capsys.readouterr().out
    options = (
        "cell hidden layers input batch length gain init forget-bias bidirectional dtype device seed threads"
    )
    options += " model checkpoint out quiet no-plots k lags warm-up gains qr-every drive"
    for option in options.split():
        assert f"--{option} " in shown or f"--{option}\n" in shown


def test_every_option_of_gradflow_that_describes_a_network_reads_the_same(capsys):
    from diagnostics import gradflow

    shown = []
    for command in (gradflow, spectrum):
        with pytest.raises(SystemExit):
            command.main(["--help"])
        shown.append(capsys.readouterr().out)
    common = [
        line
        for line in shown[0].splitlines()
        if re.match(r"  --(cell|init|gain|forget|model|dtype|seed)", line)
    ]
    assert len(common) == 7
    assert all(line in shown[1] for line in common)


@pytest.mark.cuda
def test_the_command_runs_on_cuda(sp):
    status, printed, _, _ = sp("--device", "cuda", "--gains", "0.5,1.5")
    assert status == 0
    assert "forgets: " in printed
