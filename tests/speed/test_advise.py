"""`--advise`: in the end, other settings are tried on what takes longest, kept, and told where they helped."""

import dataclasses
import io

import pytest

from tests.render.runs import MACHINE, race
from tests.render.test_output import printed
from unrolled.implementations import load
from unrolled.networks.workload import Workload
from unrolled.progress import ProgressLine
from unrolled.results.codec import encode
from unrolled.speed.grid import cases
from unrolled.speed.run import Run
from unrolled.speed.session import Session
from unrolled.speed.settings import Settings

SMALL = Workload(cell="gru", input_size=3, hidden_size=4, batch_size=2, seq_len=3)


@pytest.mark.parametrize(("phase", "name"), [("forward", "inference"), ("training", "bptt")])
def test_what_takes_longest_is_tried_in_other_settings_and_kept(tmp_path, phase, name):
    longer = SMALL.replace(seq_len=40)
    names = ("fused", "hoisted")
    settings = Settings(
        tuple(cases([SMALL, longer, longer.replace(packed=True)], [phase], names)),
        {each: load(each) for each in names}, 0.02, tmp_path, passes=2, advise=True,
    )  # fmt: skip
    session = Session(settings, lambda run: None)
    session.measure(settings.cases, ProgressLine(io.StringIO()))
    run = session.run()
    first, *others = run.tried
    assert (first.workload, first.phase, first.implementation) == (longer, phase, "fused")
    assert {name, "flushed"} <= {each.implementation for each in others}
    assert {"bfloat16"} <= {each.workload.dtype for each in others}
    assert any(each.workload.packed for each in others)
    run.save(tmp_path / "bench.json")
    again = Run.load(tmp_path / "bench.json")
    assert encode(again) == encode(run)
    assert [each.what for each in again.helped] == [each.what for each in run.helped]
    assert "On what took longest, gru-L1-B2-T40-I3-H4" in printed(run, width=200)


def made(ratio):
    results = tuple(race({"fused": 1.0, "hoisted": 2.0}, Workload(), "training"))
    trials = race({"fused": 1.0, "bptt": ratio}, Workload(), "training")
    trials += [dataclasses.replace(trials[0], workload=Workload(batch_first=True))]
    return Run(MACHINE, "2026-01-01T00:00:00+00:00", results, {}, None, None, tuple(trials))


def test_only_what_helped_is_told():
    shown = " ".join(printed(made(0.5)).split())
    assert (
        "Tried, and it helped: the implementation bptt, which unrolled.faster(model) takes, 0.500 times"
        in shown
    )
    assert "batch_first" not in shown
    assert "Nothing that was tried made fused faster." in printed(made(1.5))


def test_without_the_option_nothing_is_tried():
    (run,) = [dataclasses.replace(made(0.5), tried=())]
    assert "tried" not in run.text()
    assert "Tried" not in printed(run)
