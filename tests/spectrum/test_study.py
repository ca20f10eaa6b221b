"""Networks under noise and without input: what theory says of each, the exponent over gain, records and back."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from unrolled import Workload, theory
from unrolled.cells.initialisation import Init
from unrolled.errors import InvalidValueError
from unrolled.networks.model import UserModel
from unrolled.networks.textbook import Network, orthogonal
from unrolled.render.spectrum_summary import spectrum_summary
from unrolled.spectrum.drive import driven, drives_for
from unrolled.spectrum.gain_curve import (
    REALISATIONS,
    GainCurve,
    check_gains,
    exponents_at,
    gain_curve,
    gaussian,
)
from unrolled.spectrum.result import Settings, dynamics, measure_spectrum
from unrolled.spectrum.singular_record import CARRIES
from unrolled.spectrum.study import SpectrumStudy, measure_study

SMALL = Workload(cell="rnn_tanh", input_size=3, hidden_size=12, batch_size=2, seq_len=121, dtype="float64")
QUICK = Settings(lags=(1, 5))


def network(cell="rnn_tanh", **options):
    sizes = {name: options.pop(name) for name in ("num_layers", "hidden_size", "seq_len") if name in options}
    return Network(name=cell, workload=SMALL.replace(cell=cell, **sizes), **options)


def first(result):
    return float(result.spectrum.part().largest.mean())


# What runs through


def test_noise_is_the_input_of_gradflow_and_starts_from_zeros():
    one = network()
    inputs, state = driven(one, one.module(), "noise")
    assert torch.equal(inputs, one.input())  # the same seed in the same process
    assert state is None


@pytest.mark.parametrize(("cell", "parts"), [("rnn_tanh", 1), ("gru", 1), ("lstm", 2)])
def test_without_input_every_sample_starts_somewhere_else(cell, parts):
    one = network(cell, num_layers=2)
    inputs, state = driven(one, one.module(), "zero")
    assert not inputs.any()
    states = state if parts == 2 else (state,)
    assert len(states) == parts
    for part in states:
        assert part.shape == (2, 2, 12)
        assert ((part >= 0) & (part <= 1)).all()
        assert not torch.equal(part[:, 0], part[:, 1])
    again = driven(one, one.module(), "zero")[1]
    assert torch.equal(states[0], again[0] if parts == 2 else again)  # the same seed in the same process


def test_a_chaotic_network_is_found_so_without_input_as_it_does_not_start_at_rest():
    """At 0, which repels, the exponent would be ln ρ(W), 0.8; on the attractor it is smaller, 0.05 here.

    Over 300 steps so weak a chaos makes 1e-9 of a rounding, so this is the exponent on every machine.
    """
    one = network(init=Init("normal", 2 / math.sqrt(100)), hidden_size=100, seq_len=301)
    result = measure_spectrum(one, "zero", Settings(k=1, lags=(1,)))
    radius = float(torch.linalg.eigvals(one.module().weight_hh_l0.detach()).abs().max())
    assert 0.04 < first(result) < math.log(radius) - 0.3
    assert result.predictions[0].theory == "mean field"
    assert result.predictions[0].exponent == pytest.approx(0.155, abs=0.02)


def test_a_model_with_an_input_of_its_own_is_run_on_that():
    given = UserModel("theirs", nn.GRU(3, 5), torch.randn(9, 2, 3))
    assert drives_for(given, None) == ("given",)
    assert drives_for(given, ("zero",)) == ("zero",)
    assert drives_for(network(), None) == ("noise", "zero")
    inputs, state = driven(given, given.module(), "zero")
    assert not inputs.any()
    assert inputs.shape == (9, 2, 3)
    assert state is None
    for wrong in (("noise",), ("sine",)):
        with pytest.raises(InvalidValueError, match=rf"drive: .*{wrong[0]}"):
            drives_for(given, wrong)


# What theory says


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_without_input_every_system_is_at_its_fixed_point(cell):
    result = measure_spectrum(network(cell, num_layers=2, seq_len=601), "zero", QUICK)
    known = {prediction.system: prediction for prediction in result.predictions}
    for part in result.spectrum.parts:
        prediction = known[part.system.label]
        assert prediction.theory == "fixed point"
        assert part.largest == pytest.approx(prediction.exponent, abs=5e-3)  # 480 steps of a rotating pair
    assert len(known) == 3


@pytest.mark.parametrize("init", [Init(), Init("orthogonal"), Init("normal", 0.1)])
def test_random_tanh_weights_under_noise_follow_the_mean_field(init):
    one = network(init=init, hidden_size=100, seq_len=301)
    result = measure_spectrum(one, "noise", Settings(k=1, lags=(1,)))
    (prediction,) = result.predictions
    assert (prediction.system, prediction.theory) == (result.spectrum.parts[0].system.label, "mean field")
    # A variance of ten thousand weights, which may be added up in another order.
    assert prediction.exponent == pytest.approx(theory.mean_field_of(one.module(), 1.0).exponent, abs=1e-9)
    assert first(result) == pytest.approx(prediction.exponent, abs=0.1)  # a hundred units are few


def test_no_theory_is_claimed_where_none_applies():
    for one in (network("gru"), network("rnn_relu"), network(init=Init("identity")), network(num_layers=2)):
        assert measure_spectrum(one, "noise", QUICK).predictions == ()
    given = UserModel("theirs", nn.RNN(3, 5), None, 2, 41)  # trained, for all that is known
    assert measure_spectrum(given, "noise", QUICK).predictions == ()


def test_default_warm_up_is_a_fifth_and_default_lags_end_with_the_steps():
    result = measure_spectrum(network(seq_len=61), "noise", Settings(k=2))
    part = result.spectrum.part()
    assert (part.warm_up, part.steps) == (12, 49)
    assert result.singular.part().lags.tolist() == [1, 2, 5, 10, 20, 50]
    assert part.running.shape[2] == 1


@pytest.mark.parametrize(
    ("exponent", "word"), [(0.1, "chaotic"), (0.02, "neutral"), (-0.02, "neutral"), (-0.1, "forgetting")]
)
def test_what_changes_by_less_than_a_factor_of_20_in_all_is_neutral(exponent, word):
    assert dynamics(exponent, 100) == word
    assert dynamics(-math.inf, 100) == "forgetting"


# Over gain


def test_the_random_network_has_no_biases_and_the_deviation_of_its_gain():
    one = gaussian(SMALL.replace(hidden_size=300))
    module = one.module()
    assert not module.bias_ih_l0.any()
    assert not module.bias_hh_l0.any()
    assert float(module.weight_hh_l0.detach().std()) == pytest.approx(1 / math.sqrt(300), rel=0.02)
    assert module.weight_ih_l0.any()


def test_realisations_are_networks_of_their_own_and_samples_go_along():
    found = exponents_at(gaussian(SMALL), "noise", 0.8, QUICK)
    assert len(found) == REALISATIONS * 2
    assert len({round(value, 6) for value in found}) == len(found)
    frame = gain_curve(gaussian(SMALL), "noise", (0.8, 1.0), [found, found]).frame()
    assert frame["realisation"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3] * 2
    assert frame["sample"].tolist() == [0, 1] * 8
    assert frame["exponent"].tolist() == [*found, *found]  # copies


def test_the_measured_crossing_lies_where_the_means_change_sign():
    curve = GainCurve("n", "zero", (0.5, 1.0, 2.0), ((-0.6, -0.8), (-0.1, -0.1), (0.2, 0.4)), 1)
    assert curve.crossing == pytest.approx(1.25)
    assert math.isnan(GainCurve("n", "zero", (0.5, 1.0), ((-0.6,), (-0.1,)), 1).crossing)
    assert curve.spread == pytest.approx([0.1 * math.sqrt(2), 0, 0.1 * math.sqrt(2)])


@pytest.mark.parametrize("drive", ["noise", "zero"])
@pytest.mark.parametrize(
    ("one", "unit"), [(gaussian(SMALL), 1.0), (network(), 1 / math.sqrt(3)), (orthogonal(SMALL, 0.5), 0.5)]
)
def test_theory_over_gain_is_that_of_the_network_at_each_gain(one, unit, drive):
    """By the variances that the weights are drawn with, and so near those that a large network has."""
    from dataclasses import replace

    large = replace(one, workload=one.workload.replace(hidden_size=600))
    if one.init.kind == "normal":
        large = gaussian(large.workload)
    curve = gain_curve(large, drive, (0.7, 1.6), [(0.0, 0.0)] * 2)
    assert curve.unit_gain == pytest.approx(unit)
    for gain in curve.gains:
        own = replace(large, gain=large.gain * gain).module()
        field = theory.mean_field_of(own, 1.0 if drive == "noise" else 0.0)
        assert curve.theory(gain) == pytest.approx(field.exponent, abs=0.01)
    assert theory.mean_field(
        curve.transition * curve.unit_gain, curve.input_variance
    ).exponent == pytest.approx(0, abs=1e-9)


def test_without_input_the_line_has_its_kink_at_the_transition():
    curve = gain_curve(gaussian(SMALL), "zero", (0.5, 2.0), [(0.0, 0.0)] * 2)
    assert curve.transition == pytest.approx(1)
    line = curve.line().set_index("gain")["exponent"]
    assert line[line.index <= 1].to_numpy() == pytest.approx(np.log(line.index[line.index <= 1]), abs=1e-9)
    assert 1 / curve.unit_gain in line.index
    assert line.iloc[-1] == pytest.approx(0.155, abs=5e-4)


def test_what_theory_does_not_cover_has_no_line_and_no_transition():
    for one in (network("lstm"), network(num_layers=2), network(init=Init("identity"))):
        curve = gain_curve(one, "zero", (0.5, 2.0), [(0.0,) * REALISATIONS] * 2)
        assert math.isnan(curve.transition)
        assert curve.line().empty
        assert curve.frame()["mean_field"].isna().all()


def test_a_realisation_that_overflows_is_nan_and_the_others_are_kept():
    relu = network("rnn_relu", init=Init("identity"), seq_len=400)
    assert all(map(math.isnan, exponents_at(relu, "noise", 9.0, QUICK)))
    assert exponents_at(relu, "zero", 0.5, QUICK) == pytest.approx([math.log(0.5)] * 2 * REALISATIONS, abs=1e-9)


@pytest.mark.parametrize(
    ("gains", "came"),
    [
        ((), "got ;"), ((1.0,), "1;"), ((1.0, 1.0), "1,1;"), ((2.0, 1.0), "2,1;"), ((0.0, 1.0), "0;"),
        ((-1.0, 1.0), "-1;"), ((1.0, math.inf), "inf;"),
    ],
)  # fmt: skip
def test_invalid_gains_are_refused(gains, came):
    with pytest.raises(InvalidValueError, match=f"gains: .*{came}"):
        check_gains(gains)


# The record


@pytest.fixture(scope="module")
def study():
    networks = [network(), network("lstm"), network("rnn_relu", init=Init("identity"), gain=9.0, seq_len=400)]
    return measure_study(networks, settings=QUICK, swept=gaussian(SMALL), gains=(0.5, 2.5), seed=0)


def test_a_study_survives_its_file(study, tmp_path):
    study.save(tmp_path / "spectrum.json")
    after = SpectrumStudy.load(tmp_path / "spectrum.json")
    for name in ("table_frame", "spectrum_frame", "singular_frame", "carrying_frame", "mean_spectrum_frame",
                 "fan_frame", "gain_frame", "gain_mean_frame", "line_frame", "transition_frame"):  # fmt: skip
        pd.testing.assert_frame_equal(getattr(study, name)(), getattr(after, name)())
    assert after.describe() == study.describe()
    assert after.describe_gains() == study.describe_gains()
    after.save(tmp_path / "again.json")
    # A decimal that is read back is the same number.
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "spectrum.json").read_bytes()


def test_nan_and_inf_of_a_network_are_a_result_that_says_where(study):
    table = study.table_frame().set_index(["network", "drive"])
    assert re.search(r"\binf in 'RNN', layer 0", table.loc[("rnn_relu", "noise"), "problem"])
    assert table.loc[("rnn_tanh", "noise"), "problem"] == ""


def test_difference_is_measured_minus_theory(study):
    table = study.table_frame()
    known = table[table["theory"].notna()]
    assert len(known) == 3
    assert (known["largest"] - known["theory"]).to_numpy() == pytest.approx(known["difference"].to_numpy())


def test_carrying_counts_singular_values_of_at_least_a_thousandth(study):
    carrying = study.carrying_frame()
    values = study.singular_frame()
    for _, row in carrying.iterrows():
        part = values[(values["network"] == row["network"]) & (values["drive"] == row["drive"])]
        part = part[part["lag"] == row["lag"]]
        assert row["carrying"] == pytest.approx((part["log10_singular_value"] >= -3).mean())


def test_words_are_those_of_the_figures(study):
    table, carrying = study.table_frame(), study.carrying_frame()
    short, said = (
        spectrum_summary(table, carrying, study.transition_frame(), ["No stack of it"], explain)
        for explain in (False, True)
    )
    row = table.set_index(["network", "drive"]).loc[("lstm", "noise")]
    half_life = f"{math.log(2) / -row['largest']:.2f}"
    assert f"lstm forgets: half is gone after {half_life} steps with noise, " in short
    assert said.startswith(short)
    assert "After 5 steps directions that carry 1/1000 of what went in are left in" in said
    assert "No spectrum of rnn_relu with noise" in short
    assert "No stack of it." in short
    off = table[table["theory_name"] == "fixed point"]["difference"].abs().max()
    (within,) = re.findall(r"Theory \(fixed point\) holds within (\S+) nats a step in 2 rows", said)
    assert float(within) == pytest.approx(off, abs=5e-4)
    crossing = study.curves[1].crossing
    crosses = f"crosses 0 at gain {crossing:.2f}" if math.isfinite(crossing) else "does not cross 0"
    assert f"without input {crosses}" in said


@pytest.mark.parametrize(
    ("differences", "within"), [((0.0123, -0.25), "0.250"), ((-6e-4, 1e-5), "0.001"), ((3e-9, -2e-4), "2e-04")]
)
def test_theory_holds_within_the_largest_difference_either_way(study, differences, within):
    table = study.table_frame()
    rows = table.index[table["theory_name"] == "fixed point"]
    assert len(rows) == 2
    table.loc[rows, "difference"] = differences
    said = spectrum_summary(table, study.carrying_frame(), study.transition_frame(), explain=True)
    assert f"Theory (fixed point) holds within {within} nats a step in 2 rows, most in " in said
    most = table.loc[rows[0] if abs(differences[0]) > abs(differences[1]) else rows[1]]
    assert f"most in {most['network']} without input." in said


def test_words_say_what_share_carries_whether_any_direction_does_or_none(study):
    """The figure in the words is the one that is counted by."""
    table, carrying, transitions = study.table_frame(), study.carrying_frame(), study.transition_frame()
    assert pytest.approx(-math.log10(1000)) == CARRIES
    for shares, words in ((1.0, "that carry 1/1000 of"), (0.0, "no direction carries 1/1000 of")):
        said = spectrum_summary(table, carrying.assign(carrying=shares), transitions, explain=True)
        assert words in said
        assert len(re.findall(r"1/\d+", said)) == 1
