"""Spectra as tables, numbers and files."""

import dataclasses
import json
import math
import re
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.gradients.test_flow_against_autograd import make, sequence
from tests.spectrum.oracle import fields_equal
from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.observed.facts import Facts
from unrolled.observed.system import System
from unrolled.results.codec import encode
from unrolled.spectrum import (
    Exponents,
    JacobianSingularValues,
    SingularValues,
    jacobian_singular_values,
    lyapunov_spectrum,
)
from unrolled.spectrum.singular_record import CARRIES

INF, NAN, LN_2 = math.inf, math.nan, math.log(2)
FIRST = ["module", "call", "system"]


def with_lost_directions(**options):
    """relu, some units of which are off in some samples."""
    module = make("relu", **options)
    return module, sequence(steps=60)


def models():
    return {
        "lost directions": with_lost_directions(num_layers=2),
        "both ways": (make("lstm", num_layers=2, bidirectional=True), sequence(steps=30)),
        "one sample": (make("gru"), sequence(batch=1, steps=30)),
        "two modules": (Two(), sequence(steps=30)),
    }


class Two(nn.Module):
    """One module called twice and another one."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = make("gru"), nn.RNN(5, 3, dtype=torch.float64)

    def forward(self, x):
        self.encoder(x[:20])
        return self.decoder(self.encoder(x)[0])


@cache
def spectra():
    return {
        name: lyapunov_spectrum(module, x, k=None if index else 3, warm_up=index)
        for index, (name, (module, x)) in enumerate(models().items())
    }


@cache
def values_of():
    return {name: jacobian_singular_values(module, x, [1, 7, 20]) for name, (module, x) in models().items()}


def exponents(*samples, size=None, warm_up=0, steps=10):
    values = np.array(samples, dtype=float)
    system = System("rnn", 0, 0, "forward", size or values.shape[1])
    return Exponents(system, values, np.array([steps]), values[None], warm_up)


def same(one, other):
    """Every field of every part, `-inf` included; a decimal that is read back is the same number."""
    assert type(one) is type(other)
    assert (one.facts, one.notes, one.environment) == (other.facts, other.notes, other.environment)
    assert len(one.parts) == len(other.parts)
    for left, right in zip(one, other, strict=True):
        for field in dataclasses.fields(left):
            assert fields_equal(getattr(left, field.name), getattr(right, field.name)), field.name


# Files


@pytest.mark.parametrize("kind", [spectra, values_of])
@pytest.mark.parametrize("name", models())
def test_every_field_survives_json(kind, name, tmp_path):
    before = kind()[name]
    before.save(tmp_path / "record.json")
    after = type(before).load(tmp_path / "record.json")
    same(before, after)
    pd.testing.assert_frame_equal(before.frame(), after.frame())
    pd.testing.assert_frame_equal(before.summary(), after.summary())


def test_minus_infinity_is_a_word_in_json(tmp_path):
    module, x = with_lost_directions()
    for before in (lyapunov_spectrum(module, x), jacobian_singular_values(module, x, [20])):
        part = before.part()
        found = part.values if isinstance(part, Exponents) else part.log10
        assert np.isneginf(found).any()
        before.save(tmp_path / "record.json")
        written = json.loads((tmp_path / "record.json").read_text())["parts"][0]
        flat = np.array(written["values" if isinstance(part, Exponents) else "log10"], dtype=object).ravel()
        assert [one == "-inf" for one in flat] == np.isneginf(found).ravel().tolist()


@pytest.mark.parametrize("version", [0, 1, 3, "2", None, True])
@pytest.mark.parametrize("kind", [spectra, values_of])
def test_another_version_is_refused_in_one_line(kind, version, tmp_path):
    record = kind()["one sample"]
    record.save(tmp_path / "record.json")
    content = json.loads((tmp_path / "record.json").read_text()) | {"version": version}
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(ResultFileError, match=f"version 2 of {record.FORMAT}, got {version!r}") as raised:
        type(record).load(tmp_path / "record.json")
    assert "\n" not in str(raised.value)


def test_the_two_records_of_a_spectrum_are_told_apart(tmp_path):
    spectra()["one sample"].save(tmp_path / "record.json")
    with pytest.raises(
        ResultFileError, match=r"unrolled\.jacobian_singular_values, got 'unrolled\.lyapunov_spectrum'"
    ):
        JacobianSingularValues.load(tmp_path / "record.json")


def test_the_same_call_gives_the_same_bytes():
    """In one process the same operations run on memory laid out alike, too little of it for more threads."""
    for kind in (spectra, values_of):
        one, other = kind(), kind.__wrapped__()
        for name in one:
            assert json.dumps(encode(one[name])) == json.dumps(encode(other[name]))


def test_a_record_knows_where_and_of_what_it_is():
    record = spectra()["both ways"]
    assert record.facts["LSTM"] == Facts(
        cell="lstm", input_size=4, hidden_size=5, num_layers=2, bidirectional=True, proj_size=0,
        batch_size=3, seq_len=30, dtype="float64", device="cpu",
    )  # fmt: skip
    assert record.environment.threads == torch.get_num_threads()
    (note,) = record.notes
    assert re.search(r"stack of 'LSTM'.* bidirectional", note)
    assert spectra()["one sample"].notes == ()


# Tables


def test_frame_has_one_row_per_system_sample_and_exponent():
    record = spectra()["both ways"]
    frame = record.frame()
    assert list(frame.columns) == [*FIRST, "sample", "index", "exponent"]
    assert len(frame) == 4 * 3 * 10
    assert frame["system"].unique().tolist() == ["l0", "l0.reverse", "l1", "l1.reverse"]
    for part in record:
        rows = frame[(frame["system"] == part.system.name) & (frame["sample"] == 1)]
        assert rows["index"].tolist() == list(range(1, 11))
        assert rows["exponent"].to_numpy() == pytest.approx(part.values[1])
    running = record.running_frame()
    assert list(running.columns) == [*FIRST, "step", "sample", "index", "exponent"]
    assert len(running) == sum(part.running.size for part in record)


def test_singular_values_have_one_row_per_system_lag_sample_and_value():
    record = values_of()["both ways"]
    frame = record.frame()
    assert list(frame.columns) == [*FIRST, "lag", "sample", "index", "log10_singular_value"]
    assert len(frame) == 4 * 3 * 3 * 10
    rows = frame[(frame["system"] == "l1.reverse") & (frame["lag"] == 7) & (frame["sample"] == 2)]
    assert rows["log10_singular_value"].to_numpy() == pytest.approx(record.part("l1.reverse").log10[1, 2])
    summary = record.summary()
    assert list(summary.columns) == [
        *FIRST, "lag", "sample", "log10_largest", "log10_smallest", "log10_condition", "carrying",
    ]  # fmt: skip
    assert len(summary) == 4 * 3 * 3
    row = summary[(summary["system"] == "l1.reverse") & (summary["lag"] == 7) & (summary["sample"] == 2)].iloc[
        0
    ]
    log10 = record.part("l1.reverse").log10[1, 2]
    # Stored values read back, and a share of ten numbers.
    assert row["log10_largest"] == log10[0] == log10.max()
    assert row["log10_smallest"] == log10[-1] == log10.min()
    assert row["log10_condition"] == pytest.approx(log10[0] - log10[-1])
    assert row["carrying"] == (log10 >= -3).mean()


def test_exponents_are_nats_a_step_and_singular_values_decades():
    """One unit, held: h' = h / 2."""
    module = nn.RNN(1, 1, nonlinearity="relu", dtype=torch.float64).requires_grad_(False)
    for parameter, value in zip(module.parameters(), (0.0, 0.5, 0.5, 0.0), strict=True):
        parameter.fill_(value)
    x, start = torch.zeros(64, 1, 1).double(), torch.ones(1, 1, 1).double()
    frame = lyapunov_spectrum(module, x, state=start).frame()
    assert frame["exponent"].to_numpy() == pytest.approx([-LN_2])
    frame = jacobian_singular_values(module, x, [10], state=start).frame()
    assert frame["log10_singular_value"].to_numpy() == pytest.approx([-10 * math.log10(2)])
    row = lyapunov_spectrum(module, x, state=start, warm_up=4).summary().iloc[0]
    assert (row["largest"], row["half_life"]) == (pytest.approx(-LN_2), pytest.approx(1))
    assert (row["size"], row["k"], row["samples"], row["steps"], row["warm_up"]) == (1, 1, 1, 60, 4)
    assert (row["sum"], row["kaplan_yorke"], row["entropy_rate"]) == (pytest.approx(-LN_2), 0, 0)
    assert math.isnan(row["largest_spread"])


def test_two_calls_and_two_modules_are_told_apart():
    record = spectra()["two modules"]
    assert [part.system.label for part in record] == ["encoder.l0", "encoder.call1.l0", "decoder.l0"]
    assert record.part().system.call == 0
    assert record.part(module="encoder", call=1).system.label == "encoder.call1.l0"
    assert record.part(module="decoder").system.size == 3
    frame = record.frame()
    assert frame.groupby(["module", "call"], sort=False).size().tolist() == [15, 15, 9]


def test_a_part_is_found_by_name_and_by_default_stands_for_the_module():
    stacked, both = spectra()["lost directions"], spectra()["both ways"]
    assert stacked.part().system.name == "stack"
    assert stacked.part("l0").system.layer == 0
    assert both.part().system.name == "l1.reverse"
    assert both.part("l0.reverse").system.direction == "reverse"
    assert [part.system.name for part in stacked] == ["l0", "l1", "stack"]


@pytest.mark.parametrize(
    "options",
    [{"name": "l7"}, {"name": "stack"}, {"module": "decoder"}, {"call": 1}, {"name": ""}, {"name": "L0"}],
)
def test_a_part_that_there_is_not(options):
    module, call = options.get("module", "GRU"), options.get("call", 0)
    message = rf"system: .*GRU\.l0, .*{options.get('name')!r} of '{module}', call {call}\b"
    for record in (spectra()["one sample"], values_of()["one sample"]):
        with pytest.raises(InvalidValueError, match=message):
            record.part(**options)


# What follows from exponents


@pytest.mark.parametrize(
    ("values", "dimension", "entropy"),
    [
        ((-1.0, -2.0, -3.0), 0.0, 0.0),
        ((-INF, -INF), 0.0, 0.0),
        ((1.0, 0.5, 0.25), 3.0, 1.75),
        ((1.0, -4.0), 1.25, 1.0),
        ((2.0, 1.0, -1.0, -4.0), 3.5, 3.0),
        ((0.9056, 0.0, -14.5723), 2 + 0.9056 / 14.5723, 0.9056),  # Lorenz
        ((0.42, -1.62), 1 + 0.42 / 1.62, 0.42),  # Hénon
        ((1.0, -1.0), 2.0, 1.0),
        ((1.0, -1.0, -5.0), 2.0, 1.0),
        ((0.0, 0.0), 2.0, 0.0),
        ((0.0, -1.0), 1.0, 0.0),
        ((0.3, 0.1, -0.4, -0.5), 3.0, 0.4),
        ((1e-16, -1.0), 1.0, 0.0),
        ((1.0, -INF), 1.0, 1.0),
        ((0.5, -0.25, -INF, -INF), 2.0, 0.5),
    ],
)
def test_kaplan_yorke_dimension_and_entropy_rate(values, dimension, entropy):
    found = exponents(values)
    assert found.kaplan_yorke == pytest.approx([dimension])
    assert found.entropy_rate == pytest.approx([entropy], abs=1e-12)
    assert found.sum == pytest.approx([sum(values)])


@pytest.mark.parametrize(
    ("values", "dimension", "entropy"),
    [
        ((-1.0,), 0.0, 0.0),
        ((1.0,), NAN, NAN),
        ((0.0,), NAN, 0.0),
        ((1.0, 0.5), NAN, NAN),
        ((1.0, -0.5), NAN, 1.0),  # the sum is still above 0
        ((1.0, -0.5, -2.0), 2.25, 1.0),
        ((1.0, 0.0), NAN, 1.0),
    ],
)
def test_what_a_part_of_the_spectrum_does_not_tell_is_nan(values, dimension, entropy):
    found = exponents(values, size=9)
    assert not found.complete
    assert found.kaplan_yorke == pytest.approx([dimension], nan_ok=True)
    assert found.entropy_rate == pytest.approx([entropy], nan_ok=True)


@pytest.mark.parametrize(
    ("largest", "half_life", "above"),
    [(-LN_2, 1.0, 0), (-LN_2 / 50, 50.0, 0), (0.0, INF, 0), (0.1, INF, 1), (-INF, 0.0, 0), (1e-14, INF, 0)],
)
def test_half_life_and_the_number_above_0(largest, half_life, above):
    found = exponents((largest, -INF))
    assert found.half_life == pytest.approx([half_life])
    assert found.above_zero.tolist() == [above]
    assert found.summary()["half_life"] == pytest.approx(half_life)


def test_statistics_over_samples():
    found = exponents((0.5, -1.0), (0.1, -2.0), (-0.3, -6.0))
    assert found.mean == pytest.approx([0.1, -3.0])
    assert found.spread == pytest.approx([0.4, math.sqrt(7)])  # n - 1
    assert found.largest.tolist() == [0.5, 0.1, -0.3]
    assert found.sum == pytest.approx([-0.5, -1.9, -6.3])
    assert found.kaplan_yorke == pytest.approx([1.5, 1.05, 0])
    assert found.entropy_rate == pytest.approx([0.5, 0.1, 0])
    row = found.summary()
    assert (row["largest"], row["largest_spread"]) == (pytest.approx(0.1), pytest.approx(0.4))
    assert row["sum"] == pytest.approx(-2.9)
    assert row["kaplan_yorke"] == pytest.approx(2.55 / 3)
    assert row["entropy_rate"] == pytest.approx(0.2)
    assert row["above_zero"] == pytest.approx(2 / 3)
    assert row["half_life"] == INF


def test_spread_is_nan_for_one_sample_and_where_a_direction_is_lost():
    assert np.isnan(exponents((1.0, -1.0)).spread).all()
    found = exponents((1.0, -1.0), (1.0, -INF), (1.0, -2.0))
    assert found.spread[0] == 0
    assert math.isnan(found.spread[1])
    assert found.mean.tolist() == [1.0, -INF]
    assert found.summary()["sum"] == -INF


def test_condition_and_share_that_carries():
    assert pytest.approx(-3, abs=1e-15) == CARRIES
    log10 = np.array([[[0.0, CARRIES, -3.000001, -8.0]], [[2.0, 1.0, -2.999999, -INF]], [[-INF] * 4]])
    found = SingularValues(System("rnn", 0, 0, "forward", 4), np.array([1, 5, 9]), log10)
    assert found.log10_condition[:, 0] == pytest.approx([8.0, INF, NAN], nan_ok=True)
    assert found.carrying[:, 0].tolist() == [0.5, 0.75, 0.0]
    assert found.samples == 1


# Over time


@pytest.mark.parametrize(
    ("steps", "warm_up", "times"),
    [
        (2, 0, [2]),
        (24, 0, [24]),
        (50, 0, [50]),
        (150, 50, [50, 100]),
        (160, 9, [50, 101, 151]),
        (3200, 0, list(range(100, 3201, 100))),
    ],
)
def test_running_estimates_end_with_the_exponents(steps, warm_up, times):
    part = lyapunov_spectrum(make("gru"), sequence(steps=steps, batch=2), warm_up=warm_up).part()
    assert part.times.tolist() == times
    assert part.running.shape == (len(times), 2, 5)
    assert np.array_equal(part.running[-1], part.values)  # stored twice
    assert (part.steps, part.warm_up) == (steps - warm_up, warm_up)
    assert (np.diff(part.running) <= 0).all()
    last = part.running_frame().query("step == @part.steps")
    assert last["exponent"].to_numpy() == pytest.approx(part.values.ravel())


@pytest.mark.parametrize("qr_every", [1, 3, "auto"])
def test_running_estimates_are_the_exponents_of_as_many_steps(qr_every):
    module, x = make("tanh"), sequence(steps=210, batch=2)
    part = lyapunov_spectrum(module, x, warm_up=10, qr_every=qr_every).part()
    for time, estimate in zip(part.times, part.running, strict=True):
        shorter = lyapunov_spectrum(module, x[: 10 + time], warm_up=10, qr_every=qr_every).part()
        np.testing.assert_allclose(estimate, shorter.values, atol=1e-6)


def test_the_mean_interval_between_factorisations_is_reported():
    module, x = make("gru"), sequence(steps=120)
    assert lyapunov_spectrum(module, x, qr_every=1).part().every == 1
    assert lyapunov_spectrum(module, x, qr_every=3).part().every == pytest.approx(3, abs=0.2)
    own = lyapunov_spectrum(module, x).part()
    assert own.qr_every == "auto"
    assert own.every > 1
