"""The grids hold what they promise, options cut and widen them, and mistakes are told in one line."""

import re
from pathlib import Path

import pytest

from unrolled.cells import CELLS
from unrolled.errors import ImplementationError, InvalidTypeError, InvalidValueError
from unrolled.implementations import Implementation
from unrolled.implementations.cells import Cells
from unrolled.networks.workload import Workload
from unrolled.speed.grid import GRIDS, LADDER, cases, workloads
from unrolled.speed.settings import LIST_OPTIONS, Settings, check_plugin


def read(grid="quick", budget=0.1, devices=("cpu",), **lists):
    texts = {f"--{name}": [value] if isinstance(value, str) else value for name, value in lists.items()}
    return Settings.read(texts, grid=grid, budget=budget, out=Path("out"), devices=devices)


@pytest.mark.parametrize(
    ("fields", "there"),
    [({}, True), ({"dtype": "bfloat16"}, True), ({"dtype": "float64"}, False), ({"cell": "gru"}, False),
     ({"device": "cuda"}, False)],
)  # fmt: skip
def test_the_loop_in_c_plus_plus_is_raced_where_it_is_another_one_than_the_fused_module(fields, there):
    found = [case.implementation for case in cases([Workload(**fields)], ("forward",), ("fused", *LADDER))]
    assert ("in_cpp" in found) == there
    assert {"fused", "cells", "written_out", "projected"} <= set(found)


def test_the_default_grid_is_three_cells_by_layers_by_batches_by_phases_by_implementations():
    chosen = read().cases
    assert len(chosen) == 3 * 3 * 3 * 2 * 3
    assert {c.workload.cell for c in chosen} == {"rnn_tanh", "gru", "lstm"}
    assert {c.workload.num_layers for c in chosen} == {1, 2, 4}
    assert {c.workload.batch_size for c in chosen} == {1, 16, 64}
    assert {c.implementation for c in chosen} == {"fused", "cells", "hoisted"}
    assert {(c.workload.seq_len, c.workload.input_size, c.workload.hidden_size) for c in chosen} == {
        (50, 64, 128)
    }


def test_fused_comes_first_so_that_the_noise_floor_is_known():
    assert [case.implementation for case in read(implementation="hoisted").cases[:2]] == ["fused", "hoisted"]


def test_the_paper_grid_is_the_classic_small_shapes():
    of = workloads("paper", {})
    assert {(w.seq_len, w.batch_size, w.input_size) for w in of} == {(10, 3, 100)}
    assert {(w.hidden_size, w.num_layers) for w in of} == {(20, 1), (20, 4), ((30, 20), 2)}


def test_the_full_grid_adds_sizes_lengths_directions_and_relu():
    of = workloads("full", {})
    assert {w.cell for w in of} == set(CELLS)
    assert len({w.hidden_size for w in of}) > 2
    assert len({w.seq_len for w in of}) > 2
    assert {w.bidirectional for w in of} == {False, True}
    assert set(workloads("quick", {})) < set(of)


@pytest.mark.parametrize("grid", GRIDS)
def test_no_workload_is_raced_twice(grid):
    of = workloads(grid, {"cell": ("lstm",), "num_layers": (2,)})
    assert len(set(of)) == len(of)
    labels = [case.label for case in cases(of, ("forward",), ("fused",))]
    assert len(set(labels)) == len(labels)


def test_options_replace_whole_axes_repeated_or_with_commas():
    chosen = read(cell=["lstm", "gru"], batch="1,256", layers="1", phase="forward", hidden="8,30+20").cases
    assert {c.workload.cell for c in chosen} == {"lstm", "gru"}
    assert {c.workload.batch_size for c in chosen} == {1, 256}
    assert {c.phase for c in chosen} == {"forward"}
    assert {c.workload.hidden_size for c in chosen} == {8}  # 30+20 is two layers, and one was asked for
    assert {c.workload.hidden_size for c in read(hidden="30+20").cases} == {(30, 20)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": "huge"}, "grid: .*got 'huge'"),
        ({"cell": "ltsm"}, "cell: .*got 'ltsm'"),
        ({"phase": "backward"}, "phase: .*got 'backward'"),
        ({"layers": "two"}, "--layers: .*got 'two'"),
        ({"layers": "0"}, "num_layers: .*got 0"),
        ({"batch": "-1"}, "batch_size: .*got -1"),
        ({"hidden": "30+x"}, "--hidden: .*got 'x'"),
        ({"hidden": "30+20", "layers": "3"}, r"grid: .*quick"),
        ({"bidirectional": "maybe"}, "--bidirectional: .*got 'maybe'"),
        ({"cell": ""}, "--cell: .*got nothing"),
        ({"dtype": "float8"}, r"dtype: .*got 'float8'"),
        ({"device": "tpu"}, "device: .*got 'tpu'"),
        ({"implementation": "fast"}, r"implementation: .*got 'fast'"),
        ({"budget": 0.0}, r"--budget: .*got 0\.0"),
        ({"budget": float("nan")}, "--budget: .*got nan"),
        ({"budget": float("inf")}, "--budget: .*got inf"),
    ],
)
def test_a_mistake_is_told_in_one_line(options, message):
    with pytest.raises((InvalidValueError, InvalidTypeError)) as raised:
        read(**options)
    assert re.match(message, str(raised.value))
    assert "\n" not in str(raised.value)


def test_every_list_option_is_documented_and_every_field_is_a_workload_s():
    assert all(option.help and option.metavar for option in LIST_OPTIONS)
    assert len({option.dest for option in LIST_OPTIONS}) == len(LIST_OPTIONS)


class OutputOnly(Cells):
    def forward(self, input, hx=None):
        return super().forward(input, hx)[0]


def lstm_only(reference):
    if type(reference).__name__ != "LSTM":
        raise NotImplementedError("LSTM only")
    return Cells(reference)


def test_a_plug_in_that_returns_something_else_is_refused_before_the_run():
    with pytest.raises(ImplementationError, match=r"mine: .*got Tensor"):
        check_plugin(Implementation("mine", OutputOnly), CELLS)


def test_a_plug_in_may_serve_some_cells_but_not_none():
    check_plugin(Implementation("mine", lstm_only), CELLS)
    with pytest.raises(ImplementationError, match="mine: .*gru: NotImplementedError: LSTM only"):
        check_plugin(Implementation("mine", lstm_only), ["gru"])
