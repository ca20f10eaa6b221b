"""Whatever a record holds comes back as it was, and what was not written by the codec is refused."""

import json
import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unrolled.errors import ResultFileError
from unrolled.results.codec import IF_NOT_DEFAULT, UNSAVED, WORDS, Count, Positive, Share, Size, decode, encode
from unrolled.results.record import Record


@dataclass(frozen=True, eq=False)
class Inner:
    number: float
    word: str
    choice: Literal["forward", "reverse"]
    maybe: int | None


@dataclass(frozen=True, eq=False)
class Outer(Record):
    FORMAT = "tests.outer"
    VERSION = 1

    inner: Inner
    many: tuple[Inner, ...]
    pair: tuple[float, int]
    floats: np.ndarray
    named: dict[str, float]
    nested: tuple[tuple[float, ...], ...]
    flag: bool
    left: object = field(default=None, metadata=UNSAVED)


@dataclass(frozen=True)
class Kinds:
    count: Count
    size: Size
    share: Share
    positive: Positive


@dataclass(frozen=True)
class Ordered:
    low: float
    high: float

    def check(self):
        if not self.low <= self.high:
            raise ValueError("low above high")


floats = st.floats(allow_nan=True, allow_infinity=True)
integers = st.integers(-(2**63), 2**63 - 1)
words = st.text(max_size=5)
inners = st.builds(Inner, floats, words, st.sampled_from(["forward", "reverse"]), st.none() | integers)
shapes = arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3) | st.just((0,))
outers = st.builds(
    Outer,
    inners,
    st.lists(inners, max_size=3).map(tuple),
    st.tuples(floats, integers),
    shapes.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=floats)),
    st.dictionaries(words, floats, max_size=3),
    st.lists(st.lists(floats, max_size=3).map(tuple), max_size=3).map(tuple),
    st.booleans(),
)


def bits(value):
    """Everything in a value, told apart to the last bit: NaN is NaN, and -0.0 is not 0.0."""
    if isinstance(value, Inner | Outer):
        return {name: bits(one) for name, one in vars(value).items() if name != "left"}
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, bits(tuple(value.ravel().tolist()))
    if isinstance(value, dict):
        return {key: bits(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()
    return value


@given(outers)
def test_every_value_survives_json_to_the_last_bit(value):
    content = json.loads(json.dumps(encode(value), allow_nan=False))
    assert bits(decode(Outer, content)) == bits(value)


@dataclass(frozen=True)
class Later:
    old: int
    new: int = field(default=0, metadata=IF_NOT_DEFAULT)


@pytest.mark.parametrize(("value", "content"), [(Later(1), {"old": 1}), (Later(1, 2), {"old": 1, "new": 2})])
def test_a_field_that_came_later_is_written_where_it_says_something(value, content):
    assert encode(value) == content
    assert decode(Later, content) == value


def test_a_default_is_not_read_where_it_would_not_be_written():
    with pytest.raises(ValueError, match="new"):
        decode(Later, {"old": 1, "new": 0})


@given(arrays.arrays(np.int64, shapes.filter(lambda shape: shape != (0,)), elements=integers))
def test_whole_numbers_stay_whole(value):
    content = json.loads(json.dumps(encode(value)))
    assert bits(decode(np.ndarray, content)) == bits(value)


@pytest.mark.parametrize(("word", "number"), WORDS.items())
def test_what_json_has_no_numbers_for_is_spelled_as_python_reads_it(word, number):
    assert encode(number) == encode(np.float64(number)) == word
    assert str(decode(float, word)) == str(float(word)) == str(number)
    assert encode(np.array([number, 1.0])) == [word, 1.0]


@pytest.mark.parametrize("spelling", ["NaN", "Infinity", "+inf", " inf", "INF", "1", "1.0", "1e3", "0x1", ""])
def test_no_other_spelling_of_a_number_is_read(spelling):
    for kind, content in ((float, spelling), (np.ndarray, [spelling]), (tuple[float, ...], [spelling])):
        with pytest.raises(ValueError, match=r"."):
            decode(kind, content)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("count", (-1, 0.5, True, "1", None, 2**63, 10**400)),
        ("size", (0, -1, 1e308, "one")),
        ("share", (-0.1, 1.1, "nan", "inf", True)),
        ("positive", (0, -1, "nan", "inf", 10**400)),
    ],
)
def test_a_number_outside_of_its_kind_is_refused(name, wrong):
    right = {"count": 0, "size": 1, "share": 1, "positive": 1e-300}
    assert decode(Kinds, right) == Kinds(**right)
    for value in wrong:
        with pytest.raises(ValueError, match=name):
            decode(Kinds, right | {name: value})


@pytest.mark.parametrize(
    "content", [{"low": 0}, {"low": 0, "high": 1, "middle": 2}, {"low": 0, "high": [1]}, [0, 1], None, "low"]
)
def test_fields_that_are_missing_unknown_or_of_another_type_are_refused(content):
    with pytest.raises(ValueError, match=r"."):
        decode(Ordered, content)


def test_a_check_is_made_when_read_and_not_when_made():
    wrong = Ordered(1.0, 0.0)
    with pytest.raises(ValueError, match="low above high"):
        decode(Ordered, encode(wrong))
    with pytest.raises(ValueError, match="low above high"):
        decode(tuple[Ordered, ...], [encode(wrong)])
    assert decode(Ordered, encode(Ordered(0.0, 1.0))) == Ordered(0.0, 1.0)


@pytest.mark.parametrize(
    "content", [[[1, 2], [3]], [1, [2]], [True], [None], [{}], [2**64], "nan", 3, [[[]], 1]]
)
def test_what_is_no_array_of_numbers_is_refused(content):
    with pytest.raises(ValueError, match=r"."):
        decode(np.ndarray, content)


@given(outers)
def test_a_file_holds_what_was_saved(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "outer.json"
    value.save(path, files=["a.csv"], partial=True)
    assert bits(Outer.load(path)) == bits(value)
    assert "left" not in json.loads(path.read_text())


@pytest.mark.parametrize(
    "head", [{"files": "a.csv"}, {"files": ["../a.csv"]}, {"files": [1]}, {"partial": 0}, {"partial": "yes"}]
)
def test_a_head_of_another_type_is_refused(tmp_path, head):
    value = Outer(Inner(0.0, "", "forward", None), (), (0.0, 1), np.zeros(2), {}, (), True)
    value.save(tmp_path / "outer.json")
    content = json.loads((tmp_path / "outer.json").read_text()) | head
    (tmp_path / "outer.json").write_text(json.dumps(content))
    with pytest.raises(ResultFileError, match=next(iter(head))):
        Outer.load(tmp_path / "outer.json")
