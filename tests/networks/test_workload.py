"""A workload checks itself, and makes the same weights and input everywhere."""

import json
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unrolled import Workload
from unrolled.cells import CELLS
from unrolled.errors import DeviceUnavailableError, InvalidTypeError, InvalidValueError
from unrolled.networks.stack import Stack
from unrolled.results.codec import decode, encode


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cell": "LSTM"}, "cell: .*got 'LSTM'"),
        ({"dtype": "float8"}, "dtype: .*got 'float8'"),
        ({"batch_size": 0}, "batch_size: .*got 0"),
        ({"seq_len": -3}, "seq_len: .*got -3"),
        ({"hidden_size": 0}, "hidden_size: .*got 0"),
        ({"hidden_size": ()}, r"hidden_size: .*got \(\)"),
        ({"num_layers": 0}, "num_layers: .*got 0"),
        ({"num_layers": 10**6}, "num_layers: .*100,000.*got 1000000"),
        ({"seq_len": 2**63}, f"seq_len: .*got {2**63}"),
        ({"device": "tpu"}, "device: .*got 'tpu'"),
        ({"hidden_size": (30, 20), "num_layers": 3}, r"hidden_size: .*got 2: \(30, 20\)"),
    ],
)
def test_a_workload_that_cannot_run_is_refused_with_what_was_expected(fields, message):
    with pytest.raises(InvalidValueError) as raised:
        Workload(**fields)
    assert re.match(message, str(raised.value))


@pytest.mark.parametrize("value", [1.5, "2", True, None])
def test_a_size_that_is_not_an_integer_is_a_type_error(value):
    with pytest.raises(InvalidTypeError, match=re.escape(f"got {value!r}")):
        Workload(batch_size=value)


@pytest.mark.parametrize("value", ["no", 1, None])
def test_both_ways_are_asked_for_by_true_or_false(value):
    with pytest.raises(InvalidTypeError, match=f"bidirectional: expected True or False, got {value!r}"):
        Workload(bidirectional=value)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_reference_is_the_fused_module_with_the_sizes_asked_for(cell, bidirectional):
    workload = Workload(cell=cell, input_size=5, hidden_size=7, num_layers=3, bidirectional=bidirectional)
    module = workload.reference()
    assert type(module) is {"gru": nn.GRU, "lstm": nn.LSTM}.get(cell, nn.RNN)
    assert module.mode.lower() == cell
    assert (module.input_size, module.hidden_size, module.num_layers) == (5, 7, 3)
    output, _ = module(workload.input())
    assert output.shape == workload.target().shape == (50, 16, 7 * (1 + bidirectional))


def test_different_sizes_per_layer_make_a_chain_of_one_layer_modules():
    workload = Workload(cell="gru", input_size=100, hidden_size=(30, 20), batch_size=3, seq_len=10)
    module = workload.reference()
    assert isinstance(module, Stack)
    assert workload.num_layers == 2
    output, states = module(workload.input())
    assert output.shape == (10, 3, 20)
    assert [state.shape for state in states] == [(1, 3, 30), (1, 3, 20)]


def test_equal_sizes_per_layer_are_one_size():
    assert Workload(hidden_size=(20, 20)) == Workload(hidden_size=20, num_layers=2)


def test_the_seed_fixes_weights_and_input_for_every_dtype_and_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    single, double = (Workload(dtype=dtype, seed=5) for dtype in ("float32", "float64"))
    for a, b in zip(single.reference().parameters(), double.reference().parameters(), strict=True):
        assert torch.equal(a, b.float())  # drawn once, in float64, and rounded once
    assert torch.equal(single.input(), double.input().float())
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(single.input(), Workload(seed=6).input())


sizes = st.integers(1, 9)


@settings(deadline=None)
@given(
    cell=st.sampled_from(CELLS),
    hidden=st.one_of(sizes, st.lists(sizes, min_size=1, max_size=4).map(tuple)),
    input_size=sizes,
    bidirectional=st.booleans(),
)
def test_a_workload_survives_a_trip_through_json(cell, hidden, input_size, bidirectional):
    workload = Workload(cell=cell, hidden_size=hidden, input_size=input_size, bidirectional=bidirectional)
    assert decode(Workload, json.loads(json.dumps(encode(workload)))) == workload


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_asked_for_and_absent_is_said_in_one_line():
    with pytest.raises(DeviceUnavailableError, match="device: .*cuda.* 0 CUDA devices"):
        Workload(device="cuda").reference()
