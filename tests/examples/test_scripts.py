"""The scripts of `examples` say what they set out to say."""

import re

import pytest

from examples import own_cell, own_implementation, own_model, parallel_transition


def test_the_own_cell_has_a_horizon_and_an_exponent(capsys):
    own_cell.main()
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"(vanishing|steady): [+-]0\.\d{4} decades a step, horizon \d+ steps", first)
    assert re.fullmatch(r"largest Lyapunov exponent: -0\.\d{3} nats a step", second)


def test_the_own_model_is_seen_before_and_while_it_is_trained(capsys):
    own_model.main()
    out = capsys.readouterr().out
    rows = re.findall(r"^ +[01] +(?:forward|reverse) +[hc] +(\w+)", out, re.MULTILINE)
    assert len(rows) == 2 * 2 * 2  # layers, directions, paths
    assert set(rows) <= {"vanishing", "exploding", "steady", "mixed"}
    assert re.findall(r"^backward pass (\d+): horizon", out, re.MULTILINE) == ["1", "11", "21", "31"]


@pytest.mark.timing
def test_the_own_implementation_is_the_same_work_and_the_forgetful_one_is_not(capsys):
    own_implementation.main()
    same, other = capsys.readouterr().out.splitlines()
    assert re.match(r"Mine: (slower|faster|same|unclear), \d", same)
    assert other.startswith("forgets_a_bias: wrong, ")


def test_the_transition_is_where_the_exponent_changes_sign():
    """D = 100, tolerance 1e-10, at a few of the gains: K flat in T below, given up at a tenth of T above."""
    found = parallel_transition.run(gains=(0.5, 1.0, 2.0), lengths=(100, 300))
    low, middle, high = found.measured
    for below in (low, middle):
        assert below.exponent.value < 0
        assert below.full.counts[0] == below.full.counts[1] < 10
        assert below.error < 1e-8
    assert high.exponent.value > 0
    assert not high.full.converged[-1]
    assert [found.is_parallel(each) for each in found.measured] == [True, True, False]
    assert all(found.holds(each) for each in found.measured)
