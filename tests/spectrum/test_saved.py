"""Spectra in files: parts of a study, version 1, and every kind of damage."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from tests.gradients.test_flow_against_autograd import make, sequence
from tests.results.mutations import ANYWHERE, NUMBER, TEXT, accepted, unexplained
from unrolled import Workload
from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.networks.model import UserModel
from unrolled.networks.textbook import described, networks
from unrolled.render.spectrum_tables import gain_table
from unrolled.spectrum import (
    JacobianSingularValues,
    LyapunovSpectrum,
    jacobian_singular_values,
    lyapunov_spectrum,
)
from unrolled.spectrum.gain_curve import gaussian
from unrolled.spectrum.result import Settings
from unrolled.spectrum.study import SpectrumStudy, measure_study

COMMITTED = Path(__file__).parent / "version_1"
SMALL = Workload(cell="rnn_tanh", hidden_size=3, input_size=2, batch_size=2, seq_len=60)
FRAMES = (
    "table_frame", "spectrum_frame", "singular_frame", "carrying_frame", "mean_spectrum_frame", "fan_frame",
    "gain_frame", "gain_mean_frame", "line_frame", "transition_frame",
)  # fmt: skip

# What may be another number or name without a contradiction to anything else in the file.
LOGS = "(-inf|" + NUMBER[1:]
FREE = [
    rf".*\.(values|running|log10)(\[\d+\])*: ({LOGS[1:-1]}|swapped)",  # between its neighbours
    r".*\.times\[\d+\]: (half|one more|ten times)",
    r".*\.every: (half|one more|ten times)",
    r".*\.facts\.\w+\.(input_size|seq_len): (half|one more|ten times)",  # of what ran in a model of the user's
    r".*\.system\.layer: (one more|ten times)",  # of a cell, as a module can hold several
    r".*\.system\.module: .*",
]
# Of Newton's method, which may be tried over fewer steps, and not of all.
ATTEMPTS = [
    r".*: without attempts",
    r".*\.attempts: (shorter|swapped|a list)",
    r".*\.attempts\[\d+\]\.(steps|iterations): (half|one more|ten times|zero)",
    r".*\.attempts\[\d+\]\.system\.size: (half|one more|ten times|huge)",
    r".*\.attempts\[\d+\]\.converged: .*",
]
FREE_STUDY = [
    *FREE,
    *ATTEMPTS,
    r"\$\.(networks|results|curves): (swapped|shorter|a list)",  # in any order, and a part of a run
    r"\$\.networks\[\d\]\.gain: (half|huge|one more|ten times)",
    r"\$\.networks\[\d\]\.workload\.seq_len: (half|one more|ten times)",  # of the network that is run over gains
    rf"\$\.networks\[\d\]\.input: ({TEXT}|shorter|swapped)",
    r"\$\.networks\[\d\]\.input\[\d\]: (half|one more|ten times)",
    r"\$\.results\[\d\]\.singular: null",
    r"\$\.results\[\d\]\.predictions: (a list|shorter)",
    rf"\$\.results\[\d\]\.predictions\[\d\]\.exponent: {LOGS}",
    r"\$\.curves\[\d\]\.exponents(\[\d\])?: swapped",
    rf"\$\.curves\[\d\]\.exponents\[\d\]\[\d\]: {LOGS}",
    r"\$\.settings\.lags: null",
]


def show(study):
    for name in FRAMES:
        getattr(study, name)()
    assert study.describe()
    assert not study.curves or study.describe_gains()
    study.notes()


def show_record(record):
    for frame in (record.frame, record.summary, record.part, getattr(record, "running_frame", record.frame)):
        frame()


def small_study(**options):
    user = UserModel("mine", nn.GRU(2, 3), torch.randn(60, 2, 2, generator=torch.Generator().manual_seed(0)))
    given = [networks(SMALL)[0], described(SMALL, "lstm"), user]
    options = {"settings": Settings(lags=(1, 4)), "gains": (0.5, 1.0, 2.0), "swept": gaussian(SMALL)} | options
    return measure_study(given, **options)


def text_of(record, path):
    record.save(path)
    return path.read_text()


# Damage


@pytest.mark.parametrize("kind", [LyapunovSpectrum, JacobianSingularValues])
def test_a_damaged_spectrum_is_refused_in_one_line_or_is_one_that_could_have_been_measured(tmp_path, kind):
    module, x = make("gru", num_layers=2), sequence(steps=110, batch=2)
    options = {"k": 2, "warm_up": 5}
    is_exponents = kind is LyapunovSpectrum
    record = (
        lyapunov_spectrum(module, x, **options)
        if is_exponents
        else jacobian_singular_values(module, x, [1, 20])
    )
    taken, count = accepted(kind, text_of(record, tmp_path / "one"), tmp_path / "one", show_record, every=2)
    assert count > 200
    assert unexplained(taken, [*ANYWHERE, *FREE]) == []


@pytest.mark.parametrize("every", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_a_damaged_study_is_refused_in_one_line_or_is_one_that_could_have_been_measured(tmp_path, every):
    text = text_of(small_study(), tmp_path / "study")
    taken, count = accepted(SpectrumStudy, text, tmp_path / "study", show, every)
    assert count > 200
    assert unexplained(taken, [*ANYWHERE, *FREE_STUDY]) == []


def first(content):
    return content["results"][0]["spectrum"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda c: first(c)["parts"][0]["values"][0].sort(), "largest down|last"),
        (lambda c: first(c)["parts"][0]["running"][-1][0].__setitem__(0, 0.5), "last"),
        (lambda c: first(c)["parts"][0].update(warm_up=3), "warm-up"),
        (lambda c: first(c)["parts"][0]["times"].append(99), "estimates"),
        (lambda c: first(c)["parts"][0]["system"].update(size=2), "exponents"),
        (lambda c: first(c)["facts"].update(RNNs=first(c)["facts"]["RNN"]), "modules"),
        (lambda c: first(c)["facts"]["RNN"].update(hidden_size=4), "systems"),
        (lambda c: first(c)["facts"]["RNN"].update(batch_size=3), "samples"),
        (lambda c: first(c)["facts"]["RNN"].update(num_layers=2**40), "layers"),
        (lambda c: c["results"][1].update(drive="noise"), "once"),
        (lambda c: c["results"][0]["predictions"][0].update(system="RNN.l1"), "predictions"),
        (lambda c: c["settings"].update(lags=[1, 5]), "lags"),
        (lambda c: c["settings"].update(k=2), "exponents"),
        (lambda c: c["curves"][0].update(unit_gain=2.0), "gain 1"),
        (lambda c: c["curves"][0].update(realisations=2), "exponents"),
        (lambda c: c["curves"][0]["exponents"][0].__setitem__(0, "nan"), "realisation"),
    ],
)
def test_what_contradicts_something_else_is_named(tmp_path, damage, said):
    content = json.loads(text_of(small_study(), tmp_path / "study"))
    damage(content)
    (tmp_path / "study").write_text(json.dumps(content))
    with pytest.raises(ResultFileError, match=said):
        SpectrumStudy.load(tmp_path / "study")


# Parts


def test_every_part_of_a_study_is_kept_loads_and_can_be_shown(tmp_path):
    parts = []
    whole = small_study(keep=parts.append)
    _, table = gain_table(parts[8].gain_mean_frame()).renderables
    assert table.row_count == 3  # of the second drive there is one gain
    assert [len(part.results) for part in parts] == [1, 2, 3, 4, *[5] * 7]
    assert [[len(curve.gains) for curve in part.curves] for part in parts[5:]] == [
        [1], [2], [3], [3, 1], [3, 2], [3, 3],
    ]  # fmt: skip
    for part in parts:
        part.save(tmp_path / "part.json", partial=True)
        after = SpectrumStudy.load(tmp_path / "part.json")
        show(after)
        for name in FRAMES:
            pd.testing.assert_frame_equal(getattr(after, name)(), getattr(part, name)())
    assert text_of(parts[-1], tmp_path / "one") == text_of(whole, tmp_path / "two")


def test_gains_at_which_every_realisation_overflows_come_back(tmp_path):
    hot = gaussian(SMALL.replace(cell="rnn_relu", seq_len=400))
    hot = type(hot)(name="hot", workload=SMALL.replace(cell="rnn_relu", seq_len=400), init=hot.init)
    study = small_study(swept=hot, gains=(0.5, 1e20))
    assert study.gain_frame().groupby("gain")["exponent"].apply(lambda found: found.isna().all()).tolist() == [
        False, True,
    ]  # fmt: skip
    study.save(tmp_path / "study.json")
    show(SpectrumStudy.load(tmp_path / "study.json"))


def test_two_networks_of_one_name_are_refused_before_anything_runs():
    one, other = networks(SMALL)[:2]
    namesake = type(one)(name=one.name, workload=other.workload, init=other.init, gain=other.gain)
    with pytest.raises(InvalidValueError, match=f"networks: .*{one.name}"):
        measure_study([one, namesake])


# Version 1


def test_the_committed_results_of_version_1_give_the_tables_beside_them():
    study = SpectrumStudy.load(COMMITTED / "spectrum.json")
    tables = {
        "spectrum.csv": study.spectrum_frame(),
        "singular_values.csv": study.singular_frame(),
        "gain.csv": study.gain_frame(),
    }
    for name, frame in tables.items():
        # Every digit: a decimal that is read back is the same number. What theory says is worked out anew, by sums of
        # a hundred terms, whose last digits are another processor's.
        expected = pd.read_csv(COMMITTED / name, dtype=str, keep_default_na=False)
        told = [
            pd.DataFrame(each.pop("mean_field")).astype(float)
            for each in (frame, expected)
            if "mean_field" in each
        ]
        assert frame.to_csv(index=False, na_rep="nan") == expected.to_csv(index=False), name
        if told:
            pd.testing.assert_frame_equal(*told, rtol=0, atol=1e-15)
    assert study.describe_gains().startswith("1 layer, input 8, hidden 200, batch 4")


def test_null_in_an_array_of_version_1_is_minus_infinity(tmp_path):
    content = json.loads((COMMITTED / "spectrum.json").read_text(encoding="utf-8"))
    content["results"][0]["singular_values"]["systems"][0]["log10"][-1][0][-1] = None
    (tmp_path / "one.json").write_text(json.dumps(content))
    part = SpectrumStudy.load(tmp_path / "one.json").results[0].singular.parts[0]
    assert part.log10[-1, 0, -1] == -float("inf")
    for name in ("results", "networks", "environment"):
        (tmp_path / "two.json").write_text(
            json.dumps({key: value for key, value in content.items() if key != name})
        )
        with pytest.raises(ResultFileError, match=name):
            SpectrumStudy.load(tmp_path / "two.json")
