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
        ({"proj_size": 128}, "proj_size: .*127.*got 128"),
        ({"proj_size": -1}, "proj_size: .*got -1"),
        ({"cell": "gru", "proj_size": 4}, "proj_size: .*lstm, got gru"),
        ({"dropout": 0.5}, r"dropout: .*several layers.*got 0\.5"),
        ({"dropout": 0.5, "hidden_size": (30, 20)}, r"dropout: .*of one size.*got 0\.5"),
        ({"dropout": 1.0, "num_layers": 2}, r"dropout: .*below 1, got 1\.0"),
        ({"dropout": -0.1, "num_layers": 2}, r"dropout: .*got -0\.1"),
        ({"dropout": float("nan"), "num_layers": 2}, "dropout: .*got nan"),
        ({"cell": "examples.cells.min_gru:MinGRU", "packed": True}, "cell .*MinGRU: .*got packed=True"),
        ({"cell": "examples.cells.min_gru:MinGRU", "bias": False}, "cell .*MinGRU: .*got bias=False"),
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


@pytest.mark.parametrize("name", ["bidirectional", "bias", "batch_first", "packed"])
@pytest.mark.parametrize("value", ["no", 1, None])
def test_what_has_two_sides_is_asked_for_by_true_or_false(name, value):
    with pytest.raises(InvalidTypeError, match=f"{name}: expected True or False, got {value!r}"):
        Workload(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("proj_size", 1.5), ("proj_size", True), ("dropout", "0.5")])
def test_an_option_of_another_type_is_a_type_error(name, value):
    with pytest.raises(InvalidTypeError, match=f"{name}: .*got {value!r}"):
        Workload(num_layers=2, **{name: value})


SMALL = {"input_size": 3, "hidden_size": 4, "batch_size": 6, "seq_len": 5, "seed": 2}


def test_packed_sequences_are_those_that_were_padded_without_what_is_beyond_their_ends():
    packed, padded = Workload(**SMALL, packed=True), Workload(**SMALL)
    assert packed.lengths == tuple(sorted(packed.lengths, reverse=True))
    assert packed.lengths[0] == 5 > packed.lengths[-1] >= 1
    assert padded.lengths == (5,) * 6
    assert len(packed.input()) == packed.tokens == sum(packed.lengths) < padded.tokens
    back, lengths = nn.utils.rnn.pad_packed_sequence(packed.as_called(packed.input()))
    assert tuple(lengths) == packed.lengths
    for k, length in enumerate(packed.lengths):
        assert torch.equal(back[:length, k], padded.input()[:length, k])
    output, _ = packed.reference()(packed.as_called(packed.input()))
    assert output.data.shape == packed.target().shape


def test_a_call_has_the_layout_that_was_asked_for():
    first, plain = Workload(**SMALL, batch_first=True), Workload(**SMALL)
    assert torch.equal(first.input(), plain.input().transpose(0, 1))
    assert torch.equal(first.target(), plain.target().transpose(0, 1))
    outputs = [each.reference()(each.as_called(each.input()))[0] for each in (first, plain)]
    torch.testing.assert_close(outputs[0], outputs[1].transpose(0, 1))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("proj_size", "width"), [(0, 4), (2, 2)])
def test_the_options_are_those_of_the_module(bias, proj_size, width):
    workload = Workload(**SMALL, bias=bias, proj_size=proj_size, num_layers=2, dropout=0.25)
    module = workload.reference()
    assert (module.bias, module.proj_size, module.dropout) == (bias, proj_size, 0.25)
    assert sum(p.numel() for p in module.parameters()) == workload.parameter_count
    assert module(workload.input())[0].shape == workload.target().shape == (5, 6, width)


@pytest.mark.parametrize("options", [{"packed": True}, {"batch_first": True}, {}, {"proj_size": 2}])
def test_a_random_state_is_one_for_every_sequence(options):
    workload = Workload(**SMALL, **options)
    h, c = workload.random_state(workload.reference(), workload.first_step(workload.input()))
    assert h.shape == (1, 6, options.get("proj_size", 4))
    assert c.shape == (1, 6, 4)


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
    plain = encode(workload)
    assert (
        not {"bias", "packed", "dropout"} & plain.keys()
    )  # a file says what was asked for beside torch's defaults
    other = workload.replace(bias=False, packed=bidirectional)
    for each in (workload, other):
        assert decode(Workload, json.loads(json.dumps(encode(each)))) == each


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_asked_for_and_absent_is_said_in_one_line():
    with pytest.raises(DeviceUnavailableError, match="device: .*cuda.* 0 CUDA devices"):
        Workload(device="cuda").reference()
