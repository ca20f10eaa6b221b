"""A configuration refuses what cannot be built, and the record survives JSON whole."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shapes.helpers import configuration
from tests.shapes.test_differences import NaN, OneDirection
from unrolled.cells import CELLS
from unrolled.errors import InvalidTypeError, InvalidValueError, ResultFileError
from unrolled.shapes.configuration import Configuration, both_forms, walkthrough
from unrolled.shapes.measure import describe, measure
from unrolled.shapes.record import Description, Shapes


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
    assert Configuration.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_the_whole_record_survives_json():
    found = measure([*walkthrough(), *both_forms(configuration(proj_size=2, hidden_size=(7, 4)))])
    assert Shapes.from_json(found.to_json()) == found  # JSON holds decimals that read back as the same float
    content = json.loads(found.to_json())
    assert (content["format"], content["version"]) == ("unrolled.shapes", 2)
    first = content["configurations"][0]
    assert (first["name"], first["count"], first["agrees"]) == ("rnn_tanh", 2440, True)
    assert first["parameters"][0]["name"] == "weight_ih_l0"
    assert first["parameters"][0]["rows"] == [{"gate": "h", "meaning": "hidden state", "start": 0, "stop": 20}]


@pytest.mark.parametrize(("loop", "largest"), [(NaN, math.nan), (OneDirection, math.inf)])
def test_differences_that_json_has_no_number_for_survive_it(loop, largest):
    found = describe(configuration("lstm", bidirectional=True), loop)
    text = json.dumps(found.to_dict(), allow_nan=False)
    again = Description.from_dict(json.loads(text))
    assert str(again) == str(found)
    assert str(again.worst.largest) == str(largest)
    assert not again.agrees


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "shapes: .*JSON"),
        ("[1]", r"shapes: .*unrolled\.shapes.*got None\b"),
        (
            '{"format": "unrolled.shapes", "version": 9}',
            r"shapes: .*unrolled\.shapes.*got \('unrolled\.shapes', 9\)",
        ),
    ],
)
def test_another_file_is_refused(text, message):
    with pytest.raises(ResultFileError, match=message):
        Shapes.from_json(text)


@pytest.mark.parametrize("missing", ["environment", "configurations"])
def test_a_damaged_file_is_refused_in_one_line(missing):
    content = json.loads(measure(both_forms(configuration())).to_json())
    del content[missing]
    with pytest.raises(ResultFileError, match=f"shapes: .*KeyError: '{missing}'"):
        Shapes.from_json(json.dumps(content))


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
