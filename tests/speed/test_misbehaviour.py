"""Contenders that change torch's settings, leave the process, hang, print or take all memory; the others go on."""

import itertools
import math
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.test_torch_settings import CHANGES
from unrolled.errors import ImplementationError, TimeLimitError
from unrolled.implementations import Implementation, load
from unrolled.implementations.cells import Cells
from unrolled.networks.workload import Workload
from unrolled.speed.grid import Case
from unrolled.speed.pairs import time_pairs
from unrolled.speed.result import STATUSES
from unrolled.speed.run import Run
from unrolled.speed.session import Session
from unrolled.speed.settings import Settings, check_plugin
from unrolled.torch_settings import TorchSettings

TINY = Workload(cell="gru", input_size=3, hidden_size=4, batch_size=2, seq_len=3)
PATIENCE = 30  # seconds after which what was not stopped gives up


class Does(Cells):
    """Cells that do something of their own before the work, in every call or from a given one on."""

    def __init__(self, reference, act, first=0):
        super().__init__(reference)
        self.act, self.left = act, first

    def forward(self, input, hx=None):
        if self.left == 0:
            self.act()
        else:
            self.left -= 1
        return super().forward(input, hx)


def in_each_call(act):
    return lambda reference: Does(reference, act)


def in_a_round(act):
    """Not before `in_rounds` lets it, in the fourth round."""
    return lambda reference: Does(reference, act, first=math.inf)


def in_rounds(pairs):
    """The rounds, for a session to run."""
    pairs.contender.module.left = min(getattr(pairs.contender.module, "left", 0), 3)
    return time_pairs(pairs)


def when_built(act):
    def build(reference):
        act()
        return Cells(reference)

    return build


def session(tmp_path, timeout=None, **builds):
    implementations = {"fused": load("fused")} | {n: Implementation(n, b) for n, b in builds.items()}
    keep = partial(Run.save, path=tmp_path / "bench.json")
    return Session(Settings((), implementations, 0.01, tmp_path, timeout=timeout), keep)


def watched(seen):
    """Rounds in which the settings are looked at right before each timed call of either side."""

    def run(pairs):
        for side in (pairs.reference, pairs.contender):
            side.__class__ = type("Watched", (side.__class__,), {"__call__": looking(side.__class__, seen)})
        return time_pairs(pairs)

    return run


def looking(kind, seen):
    def call(self):
        seen.append(TorchSettings.now())
        kind.__call__(self)

    return call


@pytest.mark.parametrize("when", [in_each_call, when_built])
@pytest.mark.parametrize("name", CHANGES)
def test_no_call_is_timed_under_a_setting_that_a_contender_changed(name, when, tmp_path):
    before, seen = TorchSettings.now(), []
    running = session(tmp_path, changes=when(CHANGES[name]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's, about some of the settings
        result = running.race(Case(TINY, "forward", "changes"), run_pairs=watched(seen))
    assert TorchSettings.now() == before
    assert set(seen) <= {before}
    assert name in result.notes[0]
    if when is when_built or name not in FAILING:
        assert (result.status, len(seen)) == ("ok", 2 * len(result.seconds))
    fused = running.race(Case(TINY, "forward", "fused"))
    assert (fused.status, fused.notes) == ("ok", ())


# What the work of the same call cannot be done under.
FAILING = ("inference mode", "default dtype", "default device", "grad mode", "autocast")


def test_a_changed_setting_is_said_in_the_result_also_from_disk(tmp_path):
    running = session(tmp_path, changes=in_each_call(lambda: torch.set_num_threads(7)))
    result = running.race(Case(TINY, "training", "changes"))
    threads = torch.get_num_threads()
    assert result.notes == (f"changed threads {threads} -> 7; put back",)
    assert result.threads == threads
    assert Run.load(tmp_path / "bench.json").results[0].notes == result.notes


LEAVES = {
    "when built": when_built(lambda: sys.exit(0)),
    "when called": in_each_call(lambda: sys.exit(0)),
    "in a round": in_a_round(lambda: sys.exit(0)),
}


@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("when", LEAVES)
def test_a_contender_that_ends_the_process_is_a_failed_cell(when, phase, tmp_path):
    running = session(tmp_path, leaves=LEAVES[when], cells=Cells)
    result = running.race(Case(TINY, phase, "leaves"), in_rounds)
    assert (result.status, result.reason) == ("failed", "SystemExit: 0")
    assert running.race(Case(TINY, phase, "cells")).status == "ok"
    assert [each.status for each in Run.load(tmp_path / "bench.json").results] == ["failed", "ok"]


class LeavesInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        sys.exit("no more")


class Backward(Cells):
    def forward(self, input, hx=None):
        output, state = super().forward(input, hx)
        return LeavesInBackward.apply(output), state


def test_so_is_one_that_does_so_in_the_backward_pass(tmp_path):
    result = session(tmp_path, leaves=Backward).race(Case(TINY, "training", "leaves"))
    assert (result.status, result.reason) == ("failed", "SystemExit: no more")


@pytest.mark.parametrize("when", [in_each_call, in_a_round, when_built])
def test_ctrl_c_ends_the_run(when, tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session(tmp_path, stopped=when(interrupt)).race(Case(TINY, "forward", "stopped"), in_rounds)


def hang():
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            time.sleep(0.01)
        except Exception:
            continue
    raise RuntimeError("was not stopped")


@pytest.mark.parametrize("when", [in_each_call, in_a_round, when_built])
def test_a_contender_that_hangs_is_marked_and_the_others_go_on(when, tmp_path):
    running = session(tmp_path, timeout=3, hangs=when(hang), cells=Cells)
    result = running.race(Case(TINY, "training", "hangs"), in_rounds)
    assert result.status == result.verdict == "timed out"
    assert result.status in STATUSES
    assert "3 s" in result.reason
    assert not result.timed
    assert running.race(Case(TINY, "training", "fused")).status == "ok"
    assert [each.status for each in Run.load(tmp_path / "bench.json").results] == ["timed out", "ok"]


def test_a_contender_that_prints_is_not_shown_and_is_said(tmp_path, capsys):
    running = session(tmp_path, prints=in_each_call(lambda: print("hello\nworld")))
    result = running.race(Case(TINY, "forward", "prints"))
    assert capsys.readouterr().out == ""
    assert result.status == "ok"
    (note,) = result.notes
    assert note.startswith("printed ")
    assert note.endswith(" lines: hello")


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden_size": 10**8},
        {"seq_len": 10**14},
        {"batch_size": 10**15},
        {"num_layers": 9, "hidden_size": 10**7},
    ],
)
@pytest.mark.parametrize("phase", ["forward", "training"])
def test_what_no_memory_holds_is_marked_and_the_others_go_on(sizes, phase, tmp_path):
    running = session(tmp_path, cells=Cells)
    for name in ("fused", "cells"):
        result = running.race(Case(TINY.replace(**sizes), phase, name))
        assert result.status == "out of memory"
        assert "\n" not in result.reason
    assert running.race(Case(TINY, phase, "cells")).status == "ok"
    assert len(Run.load(tmp_path / "bench.json").results) == 3


def huge(reference):
    return nn.LSTM(64, 10**10)


def test_a_contender_that_asks_for_more_memory_than_there_is_is_marked_too(tmp_path):
    assert session(tmp_path, huge=huge).race(Case(TINY, "forward", "huge")).status == "out of memory"


@pytest.mark.parametrize("when", [in_each_call, when_built])
def test_a_plug_in_that_ends_the_process_is_refused_when_it_is_tried(when):
    with pytest.raises(ImplementationError, match="mine: .*SystemExit: 0"):
        check_plugin(Implementation("mine", when(lambda: sys.exit(0))), ["gru"])


@pytest.mark.parametrize("when", [in_each_call, when_built])
@pytest.mark.parametrize("name", CHANGES)
def test_what_a_plug_in_changes_when_it_is_tried_is_put_back(name, when):
    before = TorchSettings.now()
    try:
        check_plugin(Implementation("mine", when(CHANGES[name])), ["gru", "lstm"])
    except ImplementationError:
        assert name in FAILING
    assert TorchSettings.now() == before


ODD = """
import sys, time, torch
from unrolled.implementations.cells import Cells
{body}
def build(reference):
    return Cells(reference)
"""


NUMBERS = itertools.count()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """`plugin(body)`: an implementation in a module that does something when it is imported; gives its path."""
    monkeypatch.chdir(tmp_path)

    def write(body):
        name = f"odd_plug_in_{next(NUMBERS)}"
        Path(f"{name}.py").write_text(ODD.format(body=body))
        return f"{name}:build"

    return write


def read(implementation, timeout=None):
    lists = {"--implementation": [implementation], "--cell": ["gru"]}
    return Settings.read(lists, grid="quick", budget=0.1, out=Path("out"), devices=("cpu",), timeout=timeout)


def test_what_a_plug_in_does_when_it_is_imported_is_undone_and_said(plugin, capsys):
    before = TorchSettings.now()
    path = plugin("print('loading'); torch.set_default_dtype(torch.float64)")
    settings = read(path)
    assert TorchSettings.now() == before
    assert capsys.readouterr().out == ""
    assert settings.notes == (
        f"implementation {path}: changed default dtype float32 -> float64; put back",
        f"implementation {path}: printed 1 line: loading",
    )


def test_a_plug_in_that_leaves_or_hangs_when_it_is_imported_is_refused(plugin):
    path = plugin("sys.exit(0)")
    with pytest.raises(ImplementationError, match=f"{path}.*SystemExit: 0"):
        read(path)
    path = plugin(f"time.sleep({PATIENCE})")
    with pytest.raises(TimeLimitError, match=f"{path}: .*0.5 s"):
        read(path, timeout=0.5)
