"""A configuration refuses what cannot be built, and the record survives JSON whole."""

import dataclasses
import json
import math
import re
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shapes.helpers import EVERY, configuration
from tests.shapes.test_differences import NaN, OneDirection
from unrolled.cells import CELLS
from unrolled.environment import Environment
from unrolled.errors import InvalidTypeError, InvalidValueError, ResultFileError
from unrolled.networks.options import PLAIN
from unrolled.results.codec import decode, encode
from unrolled.shapes.configuration import Configuration, both_forms, walkthrough
from unrolled.shapes.measure import describe, measure
from unrolled.shapes.record import Shapes


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"form": "loop"}, "form: .*fused, cells.*got 'loop'"),
        ({"proj_size": 7}, r"proj_size: .*\b6\b.*got 7\b"),
        ({"proj_size": -1}, r"proj_size: .*\b6\b.*got -1\b"),
        ({"proj_size": 4, "hidden_size": (7, 4)}, r"proj_size: .*\b3\b.*got 4\b"),
        ({"proj_size": 2, "cell": "gru"}, r"proj_size: .*lstm.*got gru\b"),
        ({"batched": False, "batch_size": 3}, r"batched: .*got batch_size 3\b"),
        ({"hidden_size": 100_000}, "sizes: .*536,870,912.*got 40,010,000,060"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_was_expected(fields, message):
    with pytest.raises(InvalidValueError, match=f"^{message}") as raised:
        configuration(**fields)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [1.5, "2", True, None])
def test_a_projection_that_is_no_integer_is_a_type_error(value):
    with pytest.raises(InvalidTypeError, match=f"proj_size: .*got {value!r}"):
        configuration(proj_size=value)


sizes = st.integers(3, 9)


@given(
    cell=st.sampled_from(CELLS),
    hidden_size=st.one_of(sizes, st.lists(sizes, min_size=1, max_size=4).map(tuple)),
    form=st.sampled_from(["fused", "cells"]),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    proj_size=st.integers(0, 2),
)
@settings(max_examples=40, deadline=None)
def test_a_configuration_survives_json(cell, hidden_size, form, flags, proj_size):
    one = configuration(
        cell, form, *flags[:1], bias=flags[1], bidirectional=flags[2], hidden_size=hidden_size,
        proj_size=proj_size if cell == "lstm" else 0,
    )  # fmt: skip
    assert decode(Configuration, json.loads(json.dumps(encode(one)))) == one


def saved(found, path):
    found.save(path)
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "asked",
    [
        (*walkthrough(), *both_forms(configuration(proj_size=2, hidden_size=(7, 4)))),
        *(both_forms(configuration(**fields)) for fields in EVERY[::7]),
        both_forms(configuration("gru", hidden_size=(7, 4), bidirectional=True, batch_first=True)),
        both_forms(configuration(batched=False, num_layers=2, dtype="bfloat16")),
        both_forms(configuration("examples.cells.min_gru:MinGRU", num_layers=2, bidirectional=True)),
        both_forms(configuration("examples.cells.peephole_lstm:PeepholeLSTM", hidden_size=(7, 4))),
        both_forms(configuration("examples.cells.min_gru:MinGRU")),
    ],
)
def test_what_is_measured_is_what_is_loaded_whatever_was_asked_for(tmp_path, asked):
    found = measure(asked)
    found.save(tmp_path / "shapes.json")  # JSON holds decimals that read back as the same float
    assert Shapes.load(tmp_path / "shapes.json") == found


def test_the_file_names_the_rows_of_every_gate(tmp_path):
    content = saved(measure(walkthrough()), tmp_path / "shapes.json")
    assert (content["format"], content["version"]) == ("unrolled.shapes", 4)
    first = content["descriptions"][0]["parameters"][0]
    assert first["pattern"] == "weight_ih_l{}"
    assert first["rows"] == [{"gate": "h", "meaning": "hidden state", "start": 0, "stop": 20}]


def as_version_3(content):
    for description in content["descriptions"]:
        configuration = description["configuration"]
        for name in ("bias", "batch_first", "proj_size"):
            configuration[name] = configuration["workload"].pop(name, PLAIN[name])
    return content


def test_a_file_of_version_3_is_read(tmp_path):
    asked = configuration("lstm", num_layers=2, proj_size=2, batch_first=True, bias=False)
    found = measure((*both_forms(asked), *both_forms(configuration("gru"))))
    content = as_version_3(saved(found, tmp_path / "shapes.json"))
    (tmp_path / "shapes.json").write_text(json.dumps(content | {"version": 3}))
    assert Shapes.load(tmp_path / "shapes.json") == found


def test_a_file_of_version_2_is_read(tmp_path):
    found = measure(walkthrough())
    content = as_version_3(saved(found, tmp_path / "shapes.json"))
    content["configurations"] = content.pop("descriptions")
    for fields, one in zip(content["configurations"], found.descriptions, strict=True):
        fields |= {"name": one.configuration.name, "count": one.count, "agrees": one.agrees}
        for parameter, own in zip(fields["parameters"], one.parameters, strict=True):
            parameter |= {"name": own.name, "count": own.count}
    del content["files"], content["partial"]
    (tmp_path / "shapes.json").write_text(json.dumps(content | {"version": 2}))
    assert Shapes.load(tmp_path / "shapes.json") == found


@pytest.mark.parametrize(("loop", "largest"), [(NaN, math.nan), (OneDirection, math.inf)])
def test_differences_that_json_has_no_number_for_survive_it(tmp_path, loop, largest):
    found = describe(configuration("lstm", bidirectional=True), loop)
    Shapes((found,), Environment.without_load()).save(tmp_path / "shapes.json")
    (again,) = Shapes.load(tmp_path / "shapes.json").descriptions
    assert str(again) == str(found)
    assert str(again.worst.largest) == str(largest)
    assert not again.agrees


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    asked = both_forms(configuration("lstm", num_layers=2, proj_size=2))
    return saved(measure(asked), tmp_path_factory.mktemp("content") / "shapes.json")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("descriptions", [], "descriptions"),
        ("descriptions.0.configuration.workload.hidden_size", 8, "built"),
        ("descriptions.0.configuration.form", "cells", "built"),
        ("descriptions.0.configuration.workload.proj_size", -1, "proj_size"),
        ("descriptions.0.configuration.workload.bias", False, "built"),
        ("descriptions.0.built", "nn.LSTM(5, 7)", "built"),
        ("descriptions.1.compared_with", "nn.LSTM(5, 7)", "comparison"),
        ("descriptions.0.parameters.0.shape", [28, 6], "weight_ih_l{}"),
        ("descriptions.0.parameters.1.number", 1, "weight_hh_l{}"),
        ("descriptions.0.parameters.9.direction", "reverse", "weight_hr_l{}"),
        ("descriptions.0.parameters.2.rows.1.gate", "i", "bias_ih_l{}"),
        ("descriptions.0.parameters.2.rows.1.stop", 13, "bias_ih_l{}"),
        ("descriptions.0.input", [3, 4, 5], "input"),
        ("descriptions.0.out", [4, 3, 7], "output"),
        ("descriptions.0.states.h.0", [2, 3, 7], "states"),
        ("descriptions.0.states.c", [], "states"),
        ("descriptions.0.differences.0.quantity", "h", "difference"),
        ("descriptions.0.differences.0.largest", -1e-9, "difference"),
        ("descriptions.0.differences.0.scale", None, "scale"),
        ("descriptions.0.epsilon", 2.0**-23, "float64"),
        ("environment.threads", 0, "thread"),
    ],
)
def test_what_no_module_has_is_refused_in_one_line(tmp_path, content, place, value, said):
    damaged = json.loads(json.dumps(content))
    *above, last = [int(key) if key.isdigit() else key for key in place.split(".")]
    reduce(lambda part, key: part[key], above, damaged)[last] = value
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps(damaged))
    with pytest.raises(ResultFileError, match=re.escape(said)) as raised:
        Shapes.load(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_cell_without_a_parameter_has_its_row():
    found = describe(configuration("examples.cells.min_gru:MinGRU"))
    bare = Shapes((dataclasses.replace(found, parameters=()),), Environment.without_load())
    assert list(bare.frame()["parameters"]) == [0]


def test_frames_have_a_row_for_each_configuration_and_each_parameter():
    found = measure(both_forms(configuration("lstm", num_layers=2)))
    frame, parameters = found.frame(), found.parameter_frame()
    assert list(frame["name"]) == ["lstm-2-layers", "lstm-2-cells"]
    assert list(frame["parameters"]) == list(parameters.groupby("configuration", sort=False)["count"].sum())
    assert frame["h"][0] == "(2, 3, 7)"
    assert frame["h"][1] == "(3, 7); (3, 7)"
    assert parameters["rows"][0] == "0:7 i, 7:14 f, 14:21 g, 21:28 o"
    assert parameters["name"].iloc[-1] == "cells.1.bias_hh"


def test_names_of_configurations_tell_them_apart():
    for group in (
        walkthrough(),
        both_forms(configuration(proj_size=2)),
        both_forms(configuration(bidirectional=True)),
    ):
        assert len({one.name for one in group}) == len(group)
