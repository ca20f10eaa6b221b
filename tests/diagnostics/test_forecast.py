"""`python -m diagnostics.forecast` as it is used: what it prints, what it writes, what it refuses."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from diagnostics import forecast
from unrolled.errors import InvalidValueError
from unrolled.forecast.setting import Setting
from unrolled.forecast.study import Study
from unrolled.forecast.training import Training

SMALL = ["--iterations", "25", "--length", "12", "--warm-up", "3"]
DATA = {"runs.csv", "history.csv", "closed_loop.csv", "reach.csv", "forecast.json"}
PLOTS = {f"{name}.{suffix}" for name in ("loss", "norm", "prediction", "reach") for suffix in ("png", "svg")}


@pytest.fixture
def fc(tmp_path, capsys):
    """Run the command with a small training; gives status, standard output and error, and the folder."""

    def run(*arguments, plots=False, out=tmp_path / "out"):
        options = [*SMALL, *arguments, "--out", str(out), *([] if plots else ["--no-plots"])]
        status = forecast.main(options)
        printed = capsys.readouterr()
        return status, printed.out, printed.err, out

    return run


def runs(out):
    """What the tables say of each run, with its setting."""
    found = Study.load(out / "forecast.json").runs
    return [run.row() | {"setting": vars(run.setting)} for run in found]


def test_default_trains_without_a_clip_and_with_one_that_never_fires(fc):
    status, printed, errors, out = fc("--explain")
    assert (status, errors) == (0, "")
    assert {path.name for path in out.iterdir()} == DATA
    assert [run["setting"]["clip"] for run in runs(out)] == ["none", "norm:10"]
    assert (
        runs(out)[0]["weights"] == runs(out)[1]["weights"]
    )  # the same operations in one process and one thread
    words = " ".join(printed.split())
    assert (
        "Clipping does nothing for RNN tanh: it never fires; a case where it matters is --preset explode."
        in words
    )
    assert "norm:10 never fired: the largest gradient norm is" in words
    assert "In a closed loop that begins with the state training left, RNN tanh, no clip is off by" in words
    assert "Warmed up: the same after 3 true points." in words
    for head in (
        "final loss",
        "largest spike,",
        "closed loop,",
        "warmed up,",
        "ended",
        "fired",
        "cosine",
        "99 %",
        "RMSE",
    ):
        assert head in printed
    assert max(map(len, printed.splitlines())) <= 120


def test_figures_in_the_files_are_those_of_the_training(fc):
    *_, out = fc("--clip", "norm:0.2")
    training = Training(Setting(iterations=25, length=12, warm_up=3, clip="norm:0.2"))
    training.run()
    history = pd.read_csv(out / "history.csv")
    # The same training once more, in the same process and thread; reading decimals may cost a rounding of 2e-16.
    assert history["loss"].to_numpy() == pytest.approx(training.history[:, 0], rel=1e-12)
    assert history["log10_norm"].to_numpy() == pytest.approx(training.history[:, 1], rel=1e-12)
    (run,) = runs(out)
    assert run["fired"] == pytest.approx((history["touched"] > 0).mean())
    assert run["norm_max"] == pytest.approx(10 ** history["log10_norm"].max())
    loop = pd.read_csv(out / "closed_loop.csv")
    assert run["rmse"] == pytest.approx(((loop["prediction"] - loop["truth"]) ** 2).mean() ** 0.5)
    late = loop[loop["step"] >= 3]
    assert run["rmse_warm"] == pytest.approx(((late["warmed_up"] - late["truth"]) ** 2).mean() ** 0.5)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_byte_for_byte(fc, tmp_path):
    options = ("--clip", "none", "--clip", "value:0.01", "--cell", "lstm")
    *_, one = fc(*options, plots=True, out=tmp_path / "one")
    *_, other = fc(*options, plots=True, out=tmp_path / "other")
    assert {path.name for path in one.iterdir()} == DATA | PLOTS
    for path in one.iterdir():  # the same operations in one process and one thread, and no date in any file
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name
    *_, third = fc(*options, "--seed", "1", out=tmp_path / "third")
    assert (third / "history.csv").read_bytes() != (one / "history.csv").read_bytes()


def test_an_interrupted_command_says_so_goes_on_and_leaves_the_same_files(fc, tmp_path, monkeypatch):
    from unrolled.forecast import checkpoint

    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0.0)
    iterate, done = Training._iterate, []

    def interrupted(training):
        done.append(None)
        if len(done) == 35:  # in the second run
            raise KeyboardInterrupt
        iterate(training)

    monkeypatch.setattr(Training, "_iterate", interrupted)
    file = tmp_path / "kept.pt"
    status, printed, errors, out = fc("--checkpoint", str(file))
    assert (status, printed) == (130, "")
    assert f"; the same command goes on from {file}" in errors
    assert [path.name for path in out.iterdir()] == ["forecast.partial.json"]
    fc("--checkpoint", str(file))
    assert len(done) == 2 * 25 + 1
    *_, whole = fc(out=tmp_path / "whole")
    for path in whole.iterdir():  # as above
        assert path.read_bytes() == (out / path.name).read_bytes(), path.name


def test_seeds_count_from_the_seed_and_every_variant_reads_the_same_data(fc):
    _, printed, _, out = fc("--seed", "5", "--seeds", "2")
    assert [(run["setting"]["seed"], run["setting"]["clip"]) for run in runs(out)] == [
        (5, "none"), (5, "norm:10"), (6, "none"), (6, "norm:10"),
    ]  # fmt: skip
    history = pd.read_csv(out / "history.csv")
    losses = history.pivot_table(index="iteration", columns=["seed", "clip"], values="loss")
    assert (losses[5, "none"] == losses[5, "norm:10"]).all()  # a clip that never fires changes no bit
    assert [run["outcome"] for run in runs(out)] == ["not converged"] * 4  # after 25 iterations
    assert printed.count("2 not converged") == 2


def test_suggest_adds_a_table_of_bounds(fc):
    _, printed, _, _ = fc("--suggest")
    assert "percentile 90" in printed
    assert "half the mean" in printed
    assert "Where to clip, from the norms of the first 200 iterations" in printed


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--cell", "gru"], "cell", "gru"),
        (["--hidden", "5"], "hidden_size", 5),
        (["--layers", "2"], "num_layers", 2),
        (["--lr", "0.003"], "lr", 0.003),
        (["--optimizer", "sgd"], "optimizer", "sgd"),
        (["--init-std", "0.1"], "init_std", 0.1),
        (["--init", "orthogonal"], "init_std", None),
        (["--gain", "1.5"], "gain", 1.5),
        (["--signal", "chirp"], "signal", "chirp"),
        (["--batch", "3"], "batch_size", 3),
    ],
)
def test_every_option_changes_its_field_of_every_run(fc, arguments, field, value):
    status, _, _, out = fc(*arguments)
    assert status == 0
    assert [run["setting"][field] for run in runs(out)] == [value, value]


def test_a_users_own_series(fc, tmp_path):
    data = tmp_path / "sales.csv"
    data.write_text("day,units\n" + "".join(f"{k},{100 + 20 * math.sin(k / 3):.3f}\n" for k in range(60)))
    status, _, _, out = fc("--signal", f"csv:{data}:units", "--clip", "none")
    assert status == 0
    assert len(pd.read_csv(out / "closed_loop.csv")) == 11


def test_a_chaotic_signal_has_exponents_of_its_closed_loop_in_the_table_the_file_and_the_words(fc):
    options = ("--signal", "henon", "--cell", "gru", "--hidden", "4", "--init", "default", "--clip", "none")
    status, printed, errors, out = fc(*options, "--explain")
    assert (status, errors) == (0, "")
    assert {path.name for path in out.iterdir()} == DATA | {"exponents.csv"}
    (run,) = Study.load(out / "forecast.json").runs
    frame = pd.read_csv(out / "exponents.csv")
    assert frame["exponent"].to_numpy() == pytest.approx(run.autonomous.values.ravel(), rel=1e-12)
    assert frame["index"].tolist() == [1, 2, 3] * 16
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "Hénon map the truth 0.419 −1.62" in lines
    words = " ".join(lines)
    assert f"GRU, no clip, runs free: {run.autonomous.motion}; the largest exponent is " in words
    assert "that of the Hénon map 0.419." in words
    assert "The truth: Sprott 2003" in words
    assert max(map(len, printed.splitlines())) <= 120
    *_, without = fc(*options, "--exponents", "0", out=out.parent / "without")
    assert {path.name for path in without.iterdir()} == DATA
    assert runs(without)[0]["weights"] == run.weights  # the same operations in one process and one thread


def test_of_any_other_signal_exponents_are_measured_where_they_are_asked_for(fc):
    _, printed, _, out = fc("--clip", "none", "--exponents", "1", plots=True)
    assert {path.name for path in out.iterdir()} == DATA | PLOTS | {
        "exponents.csv",
        "exponents.png",
        "exponents.svg",
    }
    frame = pd.read_csv(out / "exponents.csv")
    assert frame["loop"].tolist() == [1, 2, 3]  # windows of the sine
    assert frame["true_per_time"].isna().all()
    assert "Running free: Lyapunov exponents, nats per step" in printed
    assert "the truth" not in printed


def test_a_diverged_run_is_a_finding(fc):
    status, printed, errors, out = fc(
        "--cell", "rnn_relu", "--init", "identity", "--gain", "40", "--length", "40", "--optimizer", "sgd",
        "--lr", "1", "--clip", "none", plots=True,
    )  # fmt: skip
    assert (status, errors) == (0, "")
    assert "diverged" in printed
    assert "met NaN or inf in iteration" in " ".join(printed.split())
    assert {path.name for path in out.iterdir()} >= {"loss.png", "prediction.png", "runs.csv"}


def test_all_that_fails_while_training_leaves_no_folder(fc, monkeypatch):
    def fail(training):
        raise InvalidValueError("training: expected to be done, got stuck; try again")

    monkeypatch.setattr(Training, "_iterate", fail)
    status, _, errors, out = fc()
    assert status == 2
    assert errors.endswith("got stuck; try again\n")
    assert not out.exists()


def test_step_clipping_trains_through_gradient_flow(fc):
    status, printed, _, out = fc("--iterations", "3", "--clip", "step:0.001", "--explain")
    assert status == 0
    assert "step:0.001 changed the gradient" in " ".join(printed.split())
    assert 0.5 < runs(out)[0]["cosine"] < 0.9  # 0.7: the bound turned the gradient, and not around


def test_quiet_leaves_results_alone(fc):
    _, printed, errors, _ = fc("--quiet")
    assert "history.csv" not in printed
    assert errors == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--clip nrom:1", "clip: .*got 'nrom'"),
        ("--clip norm:0", r"clip: .*got 0\.0"),
        ("--lr 0", "lr: .*got 0"),
        ("--lr nan", "lr: .*got nan"),
        ("--init-std -1", "init_std: .*got -1"),
        ("--init-std 1 --gain 2", "init_std: .*got init_std 1"),
        ("--init glorot", "init: .*got 'glorot'"),
        ("--init chrono:50", "init: .*got rnn_tanh"),
        ("--hidden 0", "--hidden: .*got 0"),
        ("--layers 0", "--layers: .*got 0"),
        ("--iterations 0", "iterations: .*got 0"),
        ("--length 2", "length: .*got 2"),
        ("--warm-up 11", "warm_up: .*10 of the 12 .*got 11"),
        ("--warm-up 0", "--warm-up: .*got 0"),
        ("--seeds 0", "--seeds: .*got 0"),
        ("--seed -1", "seed: .*got -1"),
        ("--threads 0", "--threads: .*got 0"),
        ("--device cuda:99", "device: .*cuda:99"),
        ("--signal cosine", "signal: .*got 'cosine'"),
        ("--signal recall:1", "signal: .*got 'recall:1'"),
        ("--signal csv:missing.csv:units", r"signal: .*got missing\.csv"),
        ("--signal csv:short.csv:units", r"signal: .*got 2 in short\.csv"),
        ("--signal csv:short.csv:unit", "signal: .*'unit' .*got units"),
        ("--signal csv:text.csv:units", "signal: .*got 'many'"),
        ("--signal csv:empty.csv:units", "signal: .*got an empty one"),
        ("--exponents -1", "--exponents: .*got '-1'"),
        ("--exponents many", "--exponents: .*got 'many'"),
        ("--exponents 17", "exponents: .*at most 16.*got 17"),
        ("--signal recall:4 --exponents 1", "exponents: .*recall:4, which has no closed loop, got 1"),
        ("--checkpoint text.csv", r"checkpoint: .*got something else in text\.csv"),
        ("--checkpoint other.pt", r"checkpoint: .*lr 0\.5 .*0\.01 in other\.pt"),
        ("--checkpoint no/where.pt", r"checkpoint: .*got no/where\.pt"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_2_and_costs_nothing(fc, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("short.csv").write_text("units\n1\n2\n")
    Path("text.csv").write_text("units\n" + "1\n" * 20 + "many\n")
    Path("empty.csv").write_text("")
    if "other.pt" in arguments:
        fc("--lr", "0.5", "--checkpoint", "other.pt", out=tmp_path / "other")
    out = tmp_path / "out"
    out.mkdir()
    (out / "runs.csv").write_text("old")
    status, printed, errors, _ = fc(*arguments.split())
    assert re.search(message, errors)
    assert errors.startswith("python -m diagnostics.forecast: ")
    assert len(errors.splitlines()) == 1
    assert (status, printed) == (2, "")
    assert [path.name for path in out.iterdir()] == ["runs.csv"]
    assert (out / "runs.csv").read_text() == "old"
    before = sorted(tmp_path.rglob("*"))
    assert fc(*arguments.split(), out=tmp_path / "new" / "out")[0] == 2
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments", [["--preset", "none"], ["--lr", "fast"], ["--optimizer", "adamw"], ["--clop", "1"]]
)
def test_a_mistyped_option_is_one_line_and_status_2(capsys, arguments):
    with pytest.raises(SystemExit) as raised:
        forecast.main(arguments)
    assert raised.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_help_lists_every_option_of_the_command(capsys):
    with pytest.raises(SystemExit) as raised:
        forecast.main(["--help"])
    assert raised.value.code == 0
    shown = capsys.readouterr().out
    options = "preset signal length warm-up cell hidden layers init-std init gain forget-bias clip optimizer lr"
    options += " iterations batch seed seeds device threads suggest exponents checkpoint out no-plots quiet"
    for option in options.split():
        assert f"--{option}" in shown


@pytest.mark.cuda
def test_the_command_runs_on_cuda(fc):
    status, printed, _, _ = fc("--device", "cuda", "--clip", "norm:1")
    assert status == 0
    assert "norm:1" in printed
