"""What is tried in place of the fused module, and when it is printed."""

import dataclasses
import math

import pytest

import unrolled
from unrolled.errors import InvalidValueError
from unrolled.networks.workload import Workload
from unrolled.speed.race import race
from unrolled.speed.result import settled
from unrolled.speed.statistics import Interval
from unrolled.speed.why.record import Why
from unrolled.speed.why.tries import Advice, advice, variants

TINY = Workload(cell="rnn_tanh", input_size=3, hidden_size=4, batch_size=2, seq_len=4)


def slowed(result, factor, **fields):
    """The same result with other times."""
    times = {
        name: tuple(factor * seconds for seconds in getattr(result, name))
        for name in ("seconds", "reference_seconds")
    }
    return dataclasses.replace(result, **times, **fields)


@pytest.fixture(scope="module")
def base():
    return race(TINY, "training", "fused", budget=0.02, passes=7, threads=1)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"threads": 2}, "2 threads in place of 1"),
        ({"workload": TINY.replace(dtype="bfloat16")}, "bfloat16 in place of float32"),
        ({"workload": TINY.replace(batch_first=True)}, "batch_first=True"),
        ({"workload": TINY.replace(packed=True)}, "sequences of 1 to 4 steps packed"),
    ],
)
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_a_variant_is_compared_with_the_workload_itself(base, fields, what, factor):
    (found,) = advice([], settled([base, slowed(base, factor, **fields)]))
    assert what in found.what
    assert found.ratio.ratio == pytest.approx(factor)
    assert found.helps(1.01, None) == (factor < 1)


def test_only_what_clears_the_noise_and_pays_helps():
    sure, unsure = Interval(0.5, 0.4, 0.6), Interval(0.9, 0.7, 1.1)
    assert Advice("x", sure).helps(1.05, None)
    assert not Advice("x", unsure).helps(1.05, None)
    assert not Advice("x", Interval(0.97, 0.96, 0.98)).helps(1.05, None)
    assert Advice("compiled", sure, 100).helps(1.05, 1000)
    assert not Advice("compiled", sure, 100).helps(1.05, 99)
    assert not Advice("compiled", sure, math.inf).helps(1.05, 10**9)


def test_compiling_pays_after_as_many_calls_as_make_up_for_it(base):
    faster = dataclasses.replace(
        base,
        implementation="compiled",
        seconds=tuple(0.5 * s for s in base.reference_seconds),
        reference_seconds=tuple(s for second in base.reference_seconds for s in (second, second)),
        compile_s=1.0,
        uncompiled_s=1.0,
    )
    (found,) = advice([], settled([base, faster]))
    assert found.ratio.ratio == pytest.approx(0.5)
    assert found.pays_after == math.ceil(1.0 / (faster.reference_median_s - faster.median_s))


def test_what_is_tried_are_other_threads_a_dtype_and_layouts():
    found = list(variants(TINY, 1, 4))
    assert found[0] == (TINY, 1)
    assert (TINY, 4) in found
    assert {each.dtype for each, _ in found} == {"float32", "bfloat16"}
    assert any(each.packed for each, _ in found)
    assert not any(each.packed for each, _ in variants(TINY.replace(batch_size=1), 1, 4))
    assert {each.dtype for each, _ in variants(TINY.replace(dtype="float64"), 1, 4)} == {"float64"}


def test_why_tries_and_says_what_helped(tmp_path):
    why = unrolled.why(TINY, "training", budget=0.2, sizes=False)
    assert why.tried[0].workload == why.workload
    assert len(why.advice_frame()) == len(why.advice) >= 5
    assert set(why.helped) <= set(why.advice)
    why.save(tmp_path / "why.json")
    again = Why.load(tmp_path / "why.json")
    assert [each.what for each in again.helped] == [each.what for each in why.helped]


def test_nothing_is_tried_where_nobody_wants_it():
    why = unrolled.why(TINY, "forward", budget=0.1, sizes=False, tries=False)
    assert why.tried == ()
    assert {each.what.split()[-1] for each in why.advice}  # of the ladder alone


@pytest.mark.parametrize(
    ("workload", "options", "message"),
    [
        (TINY.replace(packed=True), {}, "workload: .*got packed"),
        (TINY.replace(bias=False, batch_first=True), {}, "workload: .*got bias, batch_first"),
        (TINY, {"calls": 0}, "calls: .*got 0"),
    ],
)
def test_what_cannot_be_explained_is_refused(workload, options, message):
    with pytest.raises(InvalidValueError, match=message):
        unrolled.why(workload, "forward", **options)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch has warnings of its own while it compiles
def test_compiling_is_tried_where_calls_are_counted():
    why = unrolled.why(TINY, "forward", budget=0.2, sizes=False, calls=10**9)
    (found,) = [each for each in why.advice if "compiled" in each.what]
    assert found.pays_after > 0
    assert why.calls == 10**9
