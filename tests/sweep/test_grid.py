"""The grid of a sweep: its points, its seeds, and what is refused before anything is measured."""

import json

import pytest

from tests.sweep.jobs import COUNTED
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.sweep.axis import Axis
from unrolled.sweep.grid import Grid, canonical, grid_of
from unrolled.sweep.jobs import job_named

X, WAIT = Axis("x", (1.0, 2.0)), Axis("wait", (0.0, 0.5, 1.0))


def test_every_combination_is_there_with_every_seed_the_last_axis_fastest():
    grid = grid_of(COUNTED, (X, WAIT), {}, seeds=2, seed=7)
    tasks = list(grid.tasks())
    assert (grid.count, grid.size, len(tasks), len(set(tasks))) == (6, 12, 12, 12)
    found = [(json.loads(task.settings)["x"], json.loads(task.settings)["wait"], task.seed) for task in tasks]
    assert found == [(x, wait, seed) for x in X.values for wait in WAIT.values for seed in (7, 8)]


def test_one_setting_has_one_text():
    assert canonical({"b": 1.0, "a": None}) == '{"a":null,"b":1.0}' == canonical({"a": None, "b": 1.0})
    whole, real = (grid_of(COUNTED, (Axis("x", values),), {"wait": 0}) for values in ((1, 2), (1.0, 2.0)))
    assert whole == real


@pytest.mark.parametrize(
    ("axes", "base", "more", "words"),
    [
        ((), {}, {}, "axes: expected at least one, got none"),
        ((X, X), {}, {}, "axes: expected each once, got x twice"),
        ((X,), {"x": 1.0}, {}, "axes: expected x as an axis or as one setting, got both"),
        ((X,), {"y": 1.0}, {}, "counted: expected a setting of x, wait, tag, got 'y'"),
        ((Axis("x", (1.0, -1.0)),), {}, {}, "x: expected at least 0, got -1; try 1"),
        ((X,), {}, {"seeds": 0}, "seeds: expected an integer of at least 1, got 0"),
        ((X,), {}, {"seed": -1}, "seed: expected seeds from 0 to 2147483647, got -1 to 8"),
        ((X,), {}, {"seeds": 10**6}, "axes: expected at most 1,000,000 measurements, got 2,000,000"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(axes, base, more, words):
    with pytest.raises(InvalidValueError, match=f"^{words}"):
        grid_of(COUNTED, axes, base, **more)


def test_values_of_another_kind_are_refused():
    with pytest.raises(InvalidTypeError, match="x: expected a number, got 'a'"):
        grid_of(COUNTED, (Axis("x", ("a", "b")),), {})
    with pytest.raises(InvalidTypeError, match="seed: expected a whole number, got 1.5"):
        Grid((X,), {"x": 0.0}, 1, 1.5)


@pytest.mark.parametrize(
    ("job", "axes", "settings", "words"),
    [
        ("spectrum", "gain=0,1", {}, "gain: expected a number above 0"),
        ("spectrum", "noise=-1,1", {}, "noise: expected a standard deviation of at least 0, got -1"),
        ("spectrum", "cell=gru,elman", {}, "cell: expected one of"),
        ("spectrum", "layers=1,2", {}, "layers: expected 1 in the random network of theory, got 2; set init=default"),
        ("spectrum", "input=8,64", {}, "input: expected noise on each of 64 units of the random network"),
        ("spectrum", "warm_up=10,600", {}, "inputs: expected at least 2 steps after 600 of warm-up, got T = 501"),
        ("spectrum", "k=1,65", {}, "k: expected 1 to 64"),
        ("spectrum", "init=chrono:20,orthogonal", {}, "init: expected cell lstm or gru for chrono:20, got rnn_tanh"),
        ("gradflow", "forget_bias=1,2", {}, "forget bias: expected cell lstm, got rnn_tanh"),
        ("gradflow", "clip=none,norm:1", {}, "clip: expected one that changes the gradient at each step, got norm:1"),
        ("gradflow", "hidden=8,2000000", {}, "sizes: expected a network that fits"),
        ("gradflow", "noise=0,1", {}, "gradflow: expected a setting of cell, .*, got 'noise'"),
    ],
)  # fmt: skip
def test_one_point_that_no_network_has_refuses_the_whole_grid(job, axes, settings, words):
    made = job_named(job)
    with pytest.raises(Exception, match=f"^{words}"):
        grid_of(made, (made.axis(axes),), settings)
