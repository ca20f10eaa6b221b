"""Races of packed sequences, without biases, batch first, with dropout or a projection: right where the contenders can."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unrolled.cells import CELLS
from unrolled.errors import InvalidValueError
from unrolled.implementations import Implementation, load
from unrolled.implementations.cells import Cells
from unrolled.implementations.hoisted import Hoisted
from unrolled.networks.workload import Workload
from unrolled.speed.equivalence import check_equivalence
from unrolled.speed.explicit import explicit
from unrolled.speed.grid import cases, left_out
from unrolled.speed.race import race
from unrolled.speed.relative import relative
from unrolled.speed.settings import Settings

TINY = Workload(cell="gru", input_size=3, hidden_size=4, batch_size=5, seq_len=6, num_layers=2)
OPTIONS = [
    {"packed": True},
    {"packed": True, "bidirectional": True},
    {"bias": False},
    {"batch_first": True},
    {"dropout": 0.5},
    {"dropout": 0.5, "packed": True, "batch_first": True, "bias": False},
]


def read(**lists):
    texts = {f"--{name.replace('_', '-')}": [value] for name, value in lists.items()}
    return Settings.read(texts, grid="quick", budget=0.1, out=Path("out"), devices=("cpu",))


@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["cells", "hoisted", "bptt", "inference", "flushed"])
def test_every_option_is_raced_and_right(name, cell, options, phase):
    if (name, phase) in (("inference", "training"), ("bptt", "forward")):
        return
    result = race(TINY.replace(cell=cell, **options), phase, name, budget=0.005, passes=1)
    assert (result.status, result.reason) == ("ok", "")
    assert result.equivalence_error < 1e-12
    assert result.recheck_error < 1e-4


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_the_fused_module_projects():
    for name in ("fused", "flushed"):
        result = race(TINY.replace(cell="lstm", proj_size=2), "training", name, budget=0.005, passes=1)
        assert (result.status, result.reason) == ("ok", "")
    assert result.equivalence_error < 1e-12


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(
    "options", [{"packed": True}, {"dropout": 0.4}, {"proj_size": 2}, {"bidirectional": True}]
)
def test_the_oracle_is_torch_s_lstm(options):
    work = TINY.replace(cell="lstm", dtype="float64", **options)
    module, given = work.reference(), work.as_called(work.input())
    state = work.random_state(module, work.first_step(work.input()))
    results = []
    for call in (module, lambda *given: explicit(module, *given)):
        torch.manual_seed(1)
        output, final = call(given, state)
        results.append((output.data if work.packed else output, *final))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-13)


class OtherMasks(Hoisted):
    """Drops out, but not the numbers that torch drops out."""

    def forward(self, input, hx=None):
        torch.rand(1)
        return super().forward(input, hx)


class NoDropout(Hoisted):
    def forward(self, input, hx=None):
        dropout, self.reference.dropout = self.reference.dropout, 0.0
        try:
            return super().forward(input, hx)
        finally:
            self.reference.dropout = dropout


class AlwaysDropout(Hoisted):
    """In forward, too."""

    def forward(self, input, hx=None):
        output, state = super().forward(input, hx)
        return F.dropout(output, 0.1, True), state


class PastTheEnd(Cells):
    """Goes on with sequences that have ended."""

    def forward(self, input, hx=None):
        padded, lengths = nn.utils.rnn.pad_packed_sequence(input)
        output, state = super().forward(padded, hx)
        return nn.utils.rnn.pack_padded_sequence(output, lengths), state


@pytest.mark.parametrize(
    ("build", "options", "phase"),
    [
        (OtherMasks, {"dropout": 0.5}, "training"),
        (NoDropout, {"dropout": 0.5}, "training"),
        (AlwaysDropout, {"dropout": 0.5}, "forward"),
        (PastTheEnd, {"packed": True}, "forward"),
        (PastTheEnd, {"packed": True}, "training"),
    ],
)
def test_planted_mistakes_are_wrong(build, options, phase):
    work = TINY.replace(**options)
    assert not check_equivalence(work, Implementation(build.__name__, build), phase).equal
    assert race(work, phase, build, budget=0.005, passes=1).status == "wrong"


def test_what_a_contender_cannot_do_is_left_out_and_said():
    settings = read(cell="gru,lstm", proj_size="4", phase="forward")
    assert {case.workload.cell for case in settings.cases} == {"lstm"}
    assert {case.implementation for case in settings.cases} == {"fused"}
    assert settings.notes == (
        "left out where they have no projection, as torch's cells have none: cells, hoisted",
    )
    settings = read(packed="yes", implementation="compiled,bptt", layers="1")
    assert {case.implementation for case in settings.cases} == {"fused", "bptt"}
    assert "batch size of packed sequences: compiled" in settings.notes[0]


def test_what_is_for_some_cells_or_one_phase_is_left_out_elsewhere():
    settings = read(cell="gru", layers="1", implementation="scan,inference")
    assert {(case.phase, case.implementation) for case in settings.cases} == {
        ("forward", "fused"),
        ("training", "fused"),
        ("forward", "inference"),
    }
    assert set(settings.notes) == {
        "left out where they run cells of your own alone, linear in their state: scan",
        "left out where they run calls without gradients alone: inference",
    }


def test_dropout_on_cuda_is_left_out_since_its_numbers_are_cudnn_s():
    work = TINY.replace(dropout=0.5, device="cuda")
    assert "cuDNN" in left_out(work, "training", "cells")
    assert not left_out(work, "forward", "cells")
    assert not left_out(work, "training", "fused")
    assert [case.implementation for case in cases([work], ["training"], ["fused", "cells", "flushed"])] == [
        "fused",
        "flushed",
    ]


def test_values_that_do_not_go_together_are_left_out_of_a_grid():
    found = read(dropout="0,0.3", layers="1,2", cell="gru", batch="16").cases
    assert {(case.workload.layers, case.workload.dropout) for case in found} == {(1, 0.0), (2, 0.0), (2, 0.3)}
    with pytest.raises(InvalidValueError, match=r"grid: nothing is left .*--dropout with several --layers"):
        read(dropout="0.3", layers="1")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"dropout": "much"}, "--dropout: expected a probability, got 'much'"),
        ({"dropout": "2", "layers": "2"}, r"dropout: expected a probability .*got 2\.0"),
        ({"proj_size": "x"}, "--proj-size: expected an integer of at least 0, got 'x'"),
        ({"packed": "maybe"}, "--packed: expected yes or no, got 'maybe'"),
        ({"bias": "0"}, "--bias: expected yes or no, got '0'"),
        ({"batch_first": ""}, "--batch-first: expected yes or no, got ''"),
        ({"packed": "yes", "cell": "examples.cells.min_gru:MinGRU"}, "cell .*MinGRU: .*packed=True"),
    ],
)
def test_a_wrong_option_is_said_in_a_line(lists, message):
    with pytest.raises(InvalidValueError) as raised:
        read(**lists)
    assert re.match(message, str(raised.value))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("axis", "value"), [("packed", True), ("batch_first", True), ("bias", False), ("dropout", 0.5)]
)
def test_each_is_compared_with_the_first_value(axis, value):
    results = [
        race(work, "forward", "fused", budget=0.005, passes=2) for work in (TINY, TINY.replace(**{axis: value}))
    ]
    (found,) = relative(results, axis)
    assert found.result.workload == TINY.replace(**{axis: value})
    assert found.interval.low <= found.interval.ratio <= found.interval.high
    assert found.row(axis)["first"] == getattr(TINY, axis)


def test_names_tell_the_options_apart():
    labels = [TINY.replace(**options).label for options in OPTIONS]
    assert len(set(labels)) == len(OPTIONS)
    assert labels[-1] == "gru-L2-B5-T6-I3-H4-no-bias-dropout0.5-batch-first-packed"
    assert TINY.replace(cell="lstm", proj_size=2).label.endswith("-P2")
    assert load("cells").network is None
