"""What the jobs measure, held to the library called by hand, to a plain loop in float64, and to theory."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.sweep.jobs import COUNTED, NO_JOB, job, measure
from unrolled.errors import ImplementationError, InvalidTypeError, InvalidValueError
from unrolled.gradients.reach import last_layer, measure_reach
from unrolled.learning.settings import Settings
from unrolled.learning.study import measure as measure_learning
from unrolled.networks.textbook import described
from unrolled.networks.workload import Workload
from unrolled.spectrum import lyapunov_spectrum
from unrolled.spectrum.tangents import random_directions
from unrolled.sweep.jobs import JOBS, job_named
from unrolled.sweep.jobs.job import Column, Job
from unrolled.sweep.jobs.spectrum import JOB as SPECTRUM
from unrolled.sweep.jobs.spectrum import _driven, _module, _network, transition
from unrolled.theory import mean_field


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def qr_loop(weight, noise, start, directions, warm_up):
    """All exponents of `h_t = tanh(W h_{t-1} + u_t)`: QR of the tangents at every step, numpy, float64."""
    h, total = start, np.zeros(len(weight))
    for step, u in enumerate(noise):
        h = np.tanh(weight @ h + u)
        directions, r = np.linalg.qr((1 - h**2)[:, None] * (weight @ directions))
        if step >= warm_up:
            total += np.log(np.abs(np.diag(r)))
    return np.sort(total / (len(noise) - warm_up))[::-1]


@pytest.mark.parametrize(("gain", "noise"), [(0.7, 0.0), (0.8, 0.2), (1.3, 0.5)])
def test_exponents_are_those_of_a_plain_loop_over_the_map_that_theory_is_about(gain, noise):
    """h_t = tanh(W h_{t-1} + σ ξ_t) with ξ of unit variance: nothing of it comes from torch's recurrence."""
    size, steps, warm_up = 24, 240, 40
    settings = SPECTRUM.settings(
        {"hidden": size, "gain": gain, "noise": noise, "length": steps, "warm_up": warm_up}
    )
    row = SPECTRUM.row(settings, 3)
    network = _network(settings, 3)
    module = _module(network, settings)
    _inputs, state = _driven(network, module, noise)
    weight = module.weight_hh_l0.detach().double().numpy()
    assert abs(weight.std() * math.sqrt(size) / gain - 1) < 5 / (math.sqrt(2) * size)
    assert abs(weight.mean()) < 5 * gain / size**1.5
    xi = network.input()[:, 0].double().numpy()
    assert abs(xi.std() - 1) < 5 / math.sqrt(2 * xi.size)
    start = np.zeros(size) if state is None else state[0, 0].double().numpy()
    assert (state is None) == (noise > 0)
    like = torch.zeros((), dtype=torch.float64)
    directions = (
        random_directions(size, size, like).numpy().reshape(size, size)
    )  # where tangents start is anybody's choice
    expected = qr_loop(weight, noise * xi, start, directions, warm_up)
    assert row["exponent"] == pytest.approx(expected[0], abs=1e-5)
    assert row["sum"] == pytest.approx(expected.sum(), abs=1e-3)
    assert row["positive"] == (expected > 0).sum()


def test_the_row_is_what_lyapunov_spectrum_gives_for_the_same_network():
    settings = SPECTRUM.settings({"cell": "lstm", "hidden": 6, "input": 3, "init": "orthogonal", "gain": 1.5,
                                  "noise": 0.5, "length": 60, "batch": 2, "layers": 2})  # fmt: skip
    row = SPECTRUM.row(settings, 5)
    workload = Workload(
        cell="lstm", input_size=3, hidden_size=6, num_layers=2, batch_size=2, seq_len=60, seed=5
    )
    network = described(workload, "lstm", "orthogonal", 1.5)
    part = lyapunov_spectrum(network.module(), 0.5 * network.input(), warm_up=12).part()
    assert row["exponent"] == part.largest.mean()
    assert row["dimension"] == part.kaplan_yorke.mean()
    assert row["theory"] is None
    few = SPECTRUM.row(settings | {"k": 2}, 5)
    assert few["exponent"] == pytest.approx(row["exponent"], abs=1e-6)
    assert few["sum"] is None


def test_of_other_starts_the_input_weights_are_torchs_own():
    settings = SPECTRUM.settings({"hidden": 5, "init": "default"})
    module = _module(_network(settings, 0), settings)
    assert isinstance(module, nn.RNN)
    assert module.weight_ih_l0.shape == (5, 8)
    assert module.bias_ih_l0.abs().sum() > 0
    ours = SPECTRUM.settings({"hidden": 5})
    module = _module(_network(ours, 0), ours)
    assert torch.equal(module.weight_ih_l0, torch.eye(5))
    assert module.bias_ih_l0.abs().sum() == module.bias_hh_l0.abs().sum() == 0


@pytest.mark.parametrize("noise", [0.2, 0.5])
def test_the_transition_of_theory_is_where_its_exponent_is_0(noise):
    at = transition(SPECTRUM.settings({"noise": noise}))
    assert abs(mean_field(at, noise**2).exponent) < 1e-9
    assert transition(SPECTRUM.settings({"noise": noise, "init": "default"})) is None


@pytest.mark.slow
def test_a_large_network_goes_over_to_chaos_where_theory_says():
    noise = 0.2
    at = transition(SPECTRUM.settings({"noise": noise}))
    base = {"hidden": 400, "noise": noise, "length": 1001, "k": 1}
    low, high = (
        np.mean(
            [SPECTRUM.row(SPECTRUM.settings(base | {"gain": at * side}), seed)["exponent"] for seed in range(3)]
        )
        for side in (0.93, 1.07)
    )
    assert low < 0 < high


def test_a_network_at_rest_is_pushed_so_that_its_exponent_above_gain_1_is_not_that_of_rest():
    """At rest λ₁ is the logarithm of the largest eigenvalue; a network that left it has a smaller one."""
    settings = SPECTRUM.settings({"hidden": 100, "gain": 2.0, "length": 301})
    row = SPECTRUM.row(settings, 0)
    weight = _network(settings, 0).module().weight_hh_l0.detach()
    assert row["exponent"] < math.log(torch.linalg.eigvals(weight).abs().max()) - 0.2


def test_seeds_are_networks_of_their_own_and_come_back_the_same():
    settings = SPECTRUM.settings({"hidden": 8, "length": 40, "noise": 0.1})
    first, again, other = (SPECTRUM.row(settings, seed) for seed in (0, 0, 1))
    assert first == again
    assert first["exponent"] != other["exponent"]


def test_gradflow_gives_the_last_layers_verdict():
    made = job_named("gradflow")
    settings = made.settings({"cell": "gru", "hidden": 6, "layers": 2, "length": 50, "batch": 3, "gain": 2.0})
    row = made.row(settings, 4)
    workload = Workload(cell="gru", input_size=8, hidden_size=6, num_layers=2, batch_size=3, seq_len=50, seed=4)
    profile = last_layer(measure_reach(described(workload, "gru", None, 2.0)).flow)
    verdict = profile.verdict
    assert row == {
        "decades_per_step": verdict.decades_per_step,
        "horizon": float(verdict.horizon),
        "horizon_is_censored": int(verdict.horizon_is_censored),
        "first_norm": profile.relative(49),
        "verdict": verdict.word,
        "problem": "",
    }


def test_gradflow_of_a_scaled_orthogonal_relu_free_rnn_decays_at_most_as_its_gain():
    made = job_named("gradflow")
    settings = made.settings({"init": "orthogonal", "gain": 0.5, "length": 41})
    row = made.row(settings, 0)
    assert row["decades_per_step"] < math.log10(0.5)
    assert row["verdict"] == "vanishing"
    assert row["horizon_is_censored"] == 0


def test_learn_is_the_training_of_unrolled_learn():
    """The same network, sequences and horizons; the delay is the only one there."""
    settings = {"delay": 3, "hidden": 8, "iterations": 50, "batch": 8, "lr": 0.01, "cell": "gru"}
    learn = job_named("learn")
    row = learn.row(learn.settings(settings), 3)
    training = Settings(delays=(3,), seeds=1, iterations=50, batch_size=8, lr=0.01)
    workload = Workload(cell="gru", input_size=6, hidden_size=8, batch_size=8, seq_len=7, seed=3)
    (learner,) = measure_learning([described(workload, "gru")], training).learners
    (trial,) = learner.trials
    assert row["learned"] == trial.learned
    assert row["loss"] == trial.loss
    assert row["took"] == (trial.iterations if trial.learned else None)
    assert (row["horizon_before"], row["horizon_after"]) == (learner.before.lag, trial.after.lag)


@pytest.mark.parametrize("name", ["gradflow", "spectrum"])
def test_what_overflows_is_a_row_with_a_problem(name):
    made = job_named(name)
    settings = made.settings({"cell": "rnn_relu", "init": "orthogonal", "gain": 1e3, "hidden": 8})
    row = made.row(settings, 0)
    assert row["problem"].startswith("expected finite ")
    assert all(row[column.name] is None for column in made.columns)


@pytest.mark.parametrize("name", JOBS)
def test_every_job_takes_its_own_defaults_and_names_its_columns(name):
    made = job_named(name)
    made.check(made.settings({}))
    assert made.name == name
    assert made.column(made.shown).label
    with pytest.raises(
        InvalidValueError, match=f"^{name}: expected a column of .*, got 'nothing'; name one of them$"
    ):
        made.column("nothing")


def test_a_job_of_ones_own_is_found_by_its_path():
    assert job_named("tests.sweep.jobs:COUNTED") is COUNTED
    with pytest.raises(InvalidTypeError, match="expected a Job, got str"):
        job_named(f"tests.sweep.jobs:{'NO_JOB' if NO_JOB else ''}")
    with pytest.raises(ImplementationError, match="tests.sweep.jobs has no 'NOTHING'"):
        job_named("tests.sweep.jobs:NOTHING")
    with pytest.raises(InvalidValueError, match="^job: expected one of gradflow, .*, got 'spectra'$"):
        job_named("spectra")


def test_bench_is_no_job_and_the_line_says_why():
    with pytest.raises(
        InvalidValueError, match="got bench: timings never run side by side; .*--hidden 8,16,32"
    ):
        job_named("bench")


def test_a_job_whose_names_clash_is_refused():
    with pytest.raises(InvalidValueError, match="expected names of its own, each once, got 'x'"):
        Job("bad", 1, "", COUNTED.parameters, (Column("x", "x"),), "x", measure, measure)
    with pytest.raises(InvalidValueError, match="expected numbers to show, got the words of word"):
        Job("bad", 1, "", COUNTED.parameters, COUNTED.columns, "word", measure, measure)
    with pytest.raises(InvalidValueError, match="expected a column of value, word, got 'more'"):
        job("generous", lambda settings, seed: {"more": 1.0}).row({}, 0)
