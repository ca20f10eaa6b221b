"""The ladder: which rungs there are for which workload, that they add up, and what is refused."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

import unrolled
from tests.render.runs import MACHINE, race
from unrolled import Workload
from unrolled.errors import InvalidTypeError, InvalidValueError, ResultFileError
from unrolled.speed.why.floors import at_size_one, floors
from unrolled.speed.why.ladder import Change, changes, contenders, has_kernel, rungs
from unrolled.speed.why.record import Floor, Operation, Why

ONEDNN = torch.backends.mkldnn.is_available()
RATIOS = {"fused": 1.0, "cells": 4.0, "written_out": 6.0, "projected": 5.0, "in_cpp": 2.0, "bptt": 0.5}
SMALL = Workload(cell="gru", hidden_size=8, input_size=4, batch_size=2, seq_len=5)


def on_ladder(workload, phase="training"):
    return [change for change in changes(workload, phase, has_kernel(workload)) if change.on_ladder]


@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "gru", "lstm"])
def test_each_rung_begins_where_the_last_one_ended(cell, dtype, phase):
    workload = Workload(cell=cell, dtype=dtype)
    ladder = on_ladder(workload, phase)
    assert (ladder[0].before, ladder[-1].after) == ("cells", "fused")
    assert all(a.after == b.before for a, b in itertools.pairwise(ladder))
    names = [each.name for each in contenders(workload, phase)]
    assert len(names) == len(set(names))
    assert {
        name
        for change in changes(workload, phase, has_kernel(workload))
        for name in (change.before, change.after)
    } == set(names)


@pytest.mark.skipif(not ONEDNN, reason="torch has no oneDNN here")
def test_only_an_lstm_that_onednn_runs_has_a_rung_between_the_loop_in_c_plus_plus_and_fused():
    assert [each.after for each in on_ladder(Workload())] == ["written_out", "projected", "in_cpp", "fused"]
    for other in (Workload(cell="gru"), Workload(cell="lstm", dtype="float64")):
        assert [each.after for each in on_ladder(other)] == ["written_out", "projected", "fused"]


def test_the_product_of_the_rungs_is_the_whole():
    results = race(RATIOS, phase="training")
    found = [rung for rung in rungs(results) if rung.change.on_ladder]
    assert math.prod(rung.ratio.ratio for rung in found) == pytest.approx(1 / 4.0, rel=1e-2)
    assert sum(rung.before_s - rung.after_s for rung in found) == pytest.approx(0.03, rel=1e-2)
    assert [rung.ratio.ratio for rung in found] == pytest.approx([1.5, 5 / 6, 0.4, 0.5], rel=1e-2)


def test_the_rungs_of_a_record_are_those_of_the_machine_that_measured(monkeypatch):
    """Not of the one that shows it."""
    here = rungs(race(RATIOS, phase="training"))
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert rungs(race(RATIOS, phase="training")) == here
    assert [rung.change.after for rung in here if rung.change.on_ladder][-2:] == ["in_cpp", "fused"]
    without = {name: ratio for name, ratio in RATIOS.items() if name != "in_cpp"}
    assert rungs(race(without, phase="training"))[2].change == Change("projected", "fused", "the loop in C++")


def test_without_a_rung_that_failed_the_others_are_there():
    results = race(RATIOS, phase="training", wrong=("written_out",))
    assert [rung.change.after for rung in rungs(results)] == ["in_cpp", "fused", "bptt"]
    why = made(results)
    assert [each.implementation for each in why.failed] == ["written_out"]


def test_a_ratio_to_a_contender_of_another_race_is_refused():
    (_, cells), (_, other) = (race({"fused": 1.0, "cells": 2.0}, Workload(batch_size=b)) for b in (1, 2))
    assert cells.against(cells).ratio == 1
    with pytest.raises(InvalidValueError, match="other: expected a contender of the same race, got cells"):
        cells.against(other)


def made(results, **fields):
    steps = 50
    return Why(
        **{
            "environment": MACHINE, "started": "2026-01-01T00:00:00+00:00", "results": tuple(results),
            "floors": (Floor("dispatch of cells", 0.02), Floor("recurrent products", 0.004)),
            "operations": (Operation("cells", "addmm", 2 * steps, 0.01), Operation("cells", "mul", 3 * steps, 0.001)),
            "launches": (), "model": None, "during": None,
        } | fields
    )  # fmt: skip


def test_times_are_of_a_step_of_a_layer_and_direction():
    workload = Workload(seq_len=50, num_layers=2, bidirectional=True)
    why = made(race(RATIOS, workload, "training"))
    assert workload.steps == 200
    assert why.step_s(1.0) == 1 / 200
    assert why.floor_s("dispatch of cells") == 0.02 / 200
    assert why.operations_a_step("cells") == 5 * 50 / 200
    assert list(why.rungs_frame()["after"]) == ["written_out", "projected", "in_cpp", "fused", "bptt"]


def test_a_record_comes_back_from_its_file(tmp_path):
    why = made(race(RATIOS, phase="training"))
    why.save(tmp_path / "why.json")
    assert Why.load(tmp_path / "why.json").text() == why.text()


def test_results_of_two_races_are_no_explanation(tmp_path):
    one, other = (race(RATIOS, Workload(batch_size=b), "training") for b in (1, 2))
    with pytest.raises(ValueError, match="results of one race"):
        made([*one, *other]).check()
    made(one[1:]).save(tmp_path / "why.json")
    with pytest.raises(ResultFileError, match="that of the reference first"):
        Why.load(tmp_path / "why.json")


@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_floors_are_measured_of_every_kind(cell, phase):
    workload = SMALL.replace(cell=cell)
    named = {each.name: each for each in contenders(workload, phase)}
    found = {each.name: each.seconds for each in floors(workload, phase, [named["cells"], named["fused"]])}
    assert {
        "dispatch of cells",
        "dispatch of fused",
        "recurrent products",
        "input projection",
        "memory traffic",
    } <= set(found)
    assert all(seconds > 0 for seconds in found.values())


def test_dispatch_is_measured_where_nothing_is_left_to_compute():
    small = at_size_one(Workload(cell="lstm", num_layers=2, bidirectional=True, seq_len=7))
    assert (small.hidden_size, small.batch_size, small.input_size) == (1, 1, 1)
    assert (small.layers, small.directions, small.seq_len) == (2, 2, 7)


@pytest.mark.parametrize("phase", ["forward", "training"])
def test_a_whole_explanation(phase):
    """At sizes that take no time: what is there, not how long it took."""
    kept = []
    before = torch.get_num_threads()
    why = unrolled.why(SMALL, phase, budget=0.1, threads=1, sizes=False, keep=kept.append)
    assert torch.get_num_threads() == before
    assert [rung.change.after for rung in why.ladder] == ["written_out", "projected", "fused"]
    assert not why.failed
    assert why.model is None
    assert why.operations_a_step("cells") > 5
    assert kept[0].floors == ()
    assert kept[-1] == replace(why, model=None)
    assert why.results[0].threads == 1


def test_a_whole_explanation_with_other_sizes():
    why = unrolled.why(SMALL.replace(cell="rnn_tanh"), "forward", budget=2.0)
    assert len(why.model.points) > 5
    assert why.model.ratio(SMALL.replace(cell="rnn_tanh")) > 0
    assert len(why.sizes_frame()) == len(why.model.points)


def test_what_cannot_be_explained_is_refused_in_a_line():
    with pytest.raises(InvalidTypeError, match="workload: expected a Workload, got str"):
        unrolled.why("lstm")
    with pytest.raises(InvalidValueError, match="phase: expected"):
        unrolled.why(SMALL, "backward")
    with pytest.raises(InvalidValueError, match="cell: expected one of torch's.*PeepholeLSTM"):
        unrolled.why(Workload(cell="examples.cells.peephole_lstm:PeepholeLSTM"))
    with pytest.raises(InvalidValueError, match=r"hidden_size: expected one for all layers, got \(30, 20\)"):
        unrolled.why(Workload(hidden_size=(30, 20)))
    with pytest.raises(InvalidValueError, match="budget: expected seconds above 0, got -1"):
        unrolled.why(SMALL, budget=-1)


@pytest.mark.cuda
def test_on_cuda_kernels_are_counted():
    why = unrolled.why(SMALL.replace(device="cuda"), "forward", budget=0.1, sizes=False)
    assert {each.implementation for each in why.launches} == {"cells", "projected", "fused"}
    assert all(each.count > 0 and each.seconds > 0 for each in why.launches)
