"""Contenders that change torch's settings, leave the process, hang, print or take all memory; the others go on."""

import io
import itertools
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
from unrolled.progress import ProgressLine
from unrolled.speed.grid import Case
from unrolled.speed.race import Race
from unrolled.speed.result import STATUSES
from unrolled.speed.rounds import timed
from unrolled.speed.run import Run
from unrolled.speed.session import Session
from unrolled.speed.settings import Settings, check_plugin
from unrolled.torch_settings import TorchSettings

TINY = Workload(cell="gru", input_size=3, hidden_size=4, batch_size=2, seq_len=3)
PATIENCE = 30  # seconds after which what was not stopped gives up
ROUNDS = []  # not empty while rounds that count are run


@pytest.fixture(autouse=True)
def rounds_are_known(monkeypatch):
    rows = Race._rows

    def known(self, *count):
        ROUNDS.append(self)
        try:
            return rows(self, *count)
        finally:
            ROUNDS.clear()

    monkeypatch.setattr(Race, "_rows", known)


class Does(Cells):
    """Cells that do something of their own before the work, in every call or in timed rounds alone."""

    def __init__(self, reference, act, in_rounds_only=False):
        super().__init__(reference)
        self.act, self.in_rounds_only = act, in_rounds_only

    def forward(self, input, hx=None):
        if ROUNDS or not self.in_rounds_only:
            self.act()
        return super().forward(input, hx)


def in_each_call(act):
    return lambda reference: Does(reference, act)


def in_a_round(act):
    return lambda reference: Does(reference, act, in_rounds_only=True)


def when_built(act):
    def build(reference):
        act()
        return Cells(reference)

    return build


def measured(tmp_path, *cases, timeout=None, **builds):
    """The results of the cases, each a workload, a phase and a name, which are on disk besides."""
    implementations = {"fused": load("fused")} | {n: Implementation(n, b) for n, b in builds.items()}
    keep = partial(Run.save, path=tmp_path / "bench.json")
    settings = Settings((), implementations, 0.01, tmp_path, timeout=timeout, passes=2)
    running = Session(settings, keep)
    running.measure([Case(*case) for case in cases], ProgressLine(io.StringIO()))
    return running.results


def statuses(path):
    return [each.status for each in Run.load(path / "bench.json").results]


@pytest.mark.parametrize("when", [in_each_call, when_built])
@pytest.mark.parametrize("name", CHANGES)
def test_no_call_is_timed_under_a_setting_that_a_contender_changed(name, when, tmp_path, monkeypatch):
    before, seen = TorchSettings.now(), []

    def watched(runner, timer):
        runner.reset()
        seen.append(TorchSettings.now())
        return timed(runner, timer)

    monkeypatch.setattr("unrolled.speed.race.timed", watched)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's, about some of the settings
        fused, result = measured(
            tmp_path, (TINY, "forward", "fused"), (TINY, "forward", "changes"), changes=when(CHANGES[name])
        )
    assert TorchSettings.now() == before
    assert set(seen) == {before}
    assert (when is in_each_call and name in UNDONE) or name in result.notes[0]
    assert (fused.status, fused.notes) == ("ok", ())
    if when is when_built or name not in FAILING:
        assert result.status == "ok"


UNDONE = ("grad mode", "inference mode")  # which torch itself puts back when the mode of a forward pass ends
# What the work of the same call cannot be done under.
FAILING = ("inference mode", "default dtype", "default device", "grad mode", "autocast")


def test_a_changed_setting_is_said_in_the_result_also_from_disk(tmp_path):
    changes = in_each_call(lambda: torch.set_num_threads(7))
    (result,) = measured(tmp_path, (TINY, "training", "changes"), changes=changes)
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
    cases = [(TINY, phase, name) for name in ("fused", "leaves", "cells")]
    fused, left, cells = measured(tmp_path, *cases, leaves=LEAVES[when], cells=Cells)
    assert (left.status, left.reason) == ("failed", "SystemExit: 0")
    assert len(fused.seconds) == len(cells.seconds) == sum(cells.passes) > 0
    assert statuses(tmp_path) == ["ok", "failed", "ok"]


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
    (result,) = measured(tmp_path, (TINY, "training", "leaves"), leaves=Backward)
    assert (result.status, result.reason) == ("failed", "SystemExit: no more")


@pytest.mark.parametrize("when", [in_each_call, in_a_round, when_built])
def test_ctrl_c_ends_the_run(when, tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, (TINY, "forward", "stopped"), stopped=when(interrupt))


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
    cases = [(TINY, "training", name) for name in ("fused", "hangs")]
    fused, result = measured(tmp_path, *cases, timeout=1, hangs=when(hang))
    assert result.status == result.verdict == "timed out"
    assert result.status in STATUSES
    assert " 1 s" in result.reason
    assert not result.timed
    assert fused.status == "ok"
    assert statuses(tmp_path) == ["ok", "timed out"]


def test_a_contender_that_prints_is_not_shown_and_is_said(tmp_path, capsys):
    prints = in_each_call(lambda: print("hello\nworld"))
    (result,) = measured(tmp_path, (TINY, "forward", "prints"), prints=prints)
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
    cases = [(TINY.replace(**sizes), phase, name) for name in ("fused", "cells")]
    *marked, small = measured(tmp_path, *cases, (TINY, phase, "cells"), cells=Cells)
    for result in marked:
        assert result.status == "out of memory"
        assert "\n" not in result.reason
    assert small.status == "ok"
    assert len(Run.load(tmp_path / "bench.json").results) == 3


def huge(reference):
    return nn.LSTM(64, 10**10)


def test_a_contender_that_asks_for_more_memory_than_there_is_is_marked_too(tmp_path):
    (result,) = measured(tmp_path, (TINY, "forward", "huge"), huge=huge)
    assert result.status == "out of memory"


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
