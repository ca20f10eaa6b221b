"""Another network is checked against its own reference, timed in the same rounds, and never called faster or slower."""

import io
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from unrolled.cells import CELLS
from unrolled.errors import InvalidValueError
from unrolled.gradients import gradient_flow
from unrolled.implementations import as_implementation, load
from unrolled.networks.workload import Workload
from unrolled.progress import ProgressLine
from unrolled.pytest_plugin.horizon import horizon
from unrolled.results.codec import encode
from unrolled.speed.grid import cases, shown_name
from unrolled.speed.network import Horizon
from unrolled.speed.race import Race, race
from unrolled.speed.run import Run
from unrolled.speed.session import Session
from unrolled.speed.settings import Settings

TINY = Workload(cell="lstm", input_size=3, hidden_size=4, batch_size=2, seq_len=5)
OWN = "examples.cells.min_gru:MinGRU"


def session(tmp_path, *networks, workload=TINY, phases=("training",), measure=horizon):
    names = ("fused", "cells", *networks)
    settings = Settings(
        tuple(cases([workload], phases, names)), {name: load(name) for name in names}, 0.02, tmp_path, passes=2
    )
    kept = []
    one = Session(settings, kept.append, horizon=measure)
    one.measure(settings.cases, ProgressLine(io.StringIO()))
    return one.run(), kept


@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("cell", [*CELLS[:3], OWN])
def test_a_network_runs_in_the_same_rounds_and_has_no_verdict(cell, phase):
    result = race(TINY, phase, f"network:{cell}", budget=0.01, passes=2)
    assert (result.status, result.reason, result.verdict) == ("ok", "", "another network")
    assert result.is_another_network
    assert result.workload == TINY
    assert result.network.cell == cell
    assert result.network.parameters == sum(p.numel() for p in TINY.replace(cell=cell).reference().parameters())
    assert len(result.reference_seconds) == 2 * len(result.seconds)
    assert result.equivalence_error < 1e-12


def test_a_run_keeps_it_in_a_block_of_its_own(tmp_path):
    run, kept = session(tmp_path, "network:gru", f"network:{OWN}")
    names = {result.implementation: result for result in run.results}
    assert set(names) == {"fused", "cells", "network:gru", f"network:{OWN}"}
    assert len({result.passes for result in run.results}) == 1
    assert {result.implementation for result in run.raced} == {"fused", "cells"}
    assert set(run.frame()["implementation"]) == {"fused", "cells"}
    beside = run.network_frame()
    assert list(beside["network"]) == ["lstm", "gru", "MinGRU"]
    assert list(beside["is_reference"]) == [True, False, False]
    assert list(beside["parameters"]) == [4 * 4 * 9, 3 * 4 * 9, 2 * 4 * 4]
    assert beside["operations"].notna().tolist() == [True, True, False]
    assert (beside["horizon"] > 0).all()
    path = tmp_path / "bench.json"
    for each in (*kept, run):
        each.save(path)
        assert encode(Run.load(path)) == encode(each)


def test_without_another_network_nothing_is_said_of_any(tmp_path):
    run, _ = session(tmp_path, measure=lambda workload: pytest.fail("measured"))
    assert all(result.network is None for result in run.results)
    assert "network" not in json.loads(run.text())["results"][0]
    assert run.network_frame().empty


def test_the_horizon_is_that_of_gradient_flow():
    workload = TINY.replace(seq_len=200, batch_size=16)
    flow = gradient_flow(workload.reference(), workload.input())
    verdict = flow.profile(path="h").verdict
    assert horizon(TINY) == Horizon(verdict.horizon, verdict.horizon_is_censored)
    assert horizon(TINY.replace(packed=True, batch_size=4)) == horizon(TINY)


class Changes(nn.Module):
    """A cell that gives something else each time that it is called."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)
        self.calls = 0

    def forward(self, x, h):
        self.calls += 1
        return torch.tanh(self.linear(x)) + 0.1 * self.calls * (self.calls > 60) + 0 * h

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, self.linear.out_features)


class Overwrites(nn.Module):
    """A cell that changes its own weights."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)

    def forward(self, x, h):
        with torch.no_grad():
            self.linear.weight.mul_(1.01)
        return torch.tanh(self.linear(x) + h)

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, self.linear.out_features)


@pytest.mark.parametrize(("cell", "status"), [("Changes", "wrong"), ("Overwrites", "failed")])
def test_a_network_that_is_not_what_its_reference_is_has_no_time(cell, status):
    result = race(TINY, "forward", f"network:tests.speed.test_networks:{cell}", budget=0.02, passes=2)
    assert result.status == status
    assert not result.timed


def test_a_network_that_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch):
    from examples.cells.min_gru import MinGRU

    forward = MinGRU.forward

    def fails(self, *given):
        if given[0].requires_grad:
            raise RuntimeError("no gradients today")
        return forward(self, *given)

    monkeypatch.setattr(MinGRU, "forward", fails)
    run, _ = session(tmp_path, f"network:{OWN}", "network:gru")
    by_name = {result.implementation: result for result in run.results}
    assert (by_name[f"network:{OWN}"].status, by_name["network:gru"].status) == ("failed", "ok")
    assert "MinGRU" in set(run.network_frame()["network"])


def test_it_is_asked_for_by_its_cell():
    texts = {"--against": ["gru", OWN], "--cell": ["gru,lstm"], "--batch": ["1"], "--layers": ["1"]}
    settings = Settings.read(texts, grid="quick", budget=0.1, out=Path("out"), devices=("cpu",))
    of = {
        cell: {c.implementation for c in settings.cases if c.workload.cell == cell} for cell in ("gru", "lstm")
    }
    assert of["lstm"] - of["gru"] == {"network:gru"}
    assert f"network:{OWN}" in of["gru"] & of["lstm"]
    assert shown_name(TINY, f"network:{OWN}") == "network MinGRU"


@pytest.mark.parametrize("cell", ["gruu", "tests.speed.test_networks:Missing", "", "no.such.module:Cell"])
def test_a_network_that_is_none_is_refused_in_a_line(cell):
    with pytest.raises(Exception, match=r"cell|--against") as raised:
        Settings.read({"--against": [cell]}, grid="quick", budget=0.1, out=Path("out"), devices=("cpu",))
    assert "\n" not in str(raised.value)
    assert type(raised.value).__module__ == "unrolled.errors"


def test_a_network_without_a_projection_is_left_out():
    texts = {"--against": ["gru"], "--cell": ["lstm"], "--proj-size": ["4"]}
    settings = Settings.read(texts, grid="quick", budget=0.1, out=Path("out"), devices=("cpu",))
    assert {case.implementation for case in settings.cases} == {"fused"}
    assert any("proj_size" in note and "network:gru" in note for note in settings.notes)


def test_a_name_of_a_network_is_no_reference():
    assert as_implementation("network:gru").network == "gru"
    with pytest.raises(InvalidValueError):
        as_implementation("network:")
    one = Race(TINY, "forward", [load("fused"), load("network:gru")])
    assert [each.implementation.name for each in one.contenders] == ["network:gru"]
