"""Which operations a call makes: counted by hand beside what the profiler says."""

import pytest
import torch
from torch import nn

from unrolled import Workload
from unrolled.implementations import implement, load
from unrolled.speed.step import Step
from unrolled.speed.why.operations import _covered, _only_calls_others, _only_looks, operations

WORKLOAD = Workload(cell="lstm", hidden_size=6, input_size=4, batch_size=2, seq_len=10)


def counts(name, phase, workload=WORKLOAD):
    reference = workload.reference()
    module = implement(load(name), reference)
    step = Step(module, workload.input(), workload.target(), phase, reference)
    found, launches = operations({name: step})
    assert launches == ()
    assert {each.implementation for each in found} == {name}
    assert all(each.seconds > 0 for each in found)
    return {each.name: each.count for each in found}


def test_a_step_of_a_cell_in_a_forward_pass():
    found = counts("cells", "forward")
    steps = WORKLOAD.seq_len
    expected = {"addmm": 2, "add_": 2, "sigmoid_": 3, "tanh_": 1, "tanh": 1, "mul": 3}
    assert {name: found[name] for name in expected} == {name: steps * n for name, n in expected.items()}
    assert found["stack"] >= 1
    assert not {"linear", "lstm_cell", "t", "unsafe_chunk", "empty", "as_strided", "view"} & set(found)


def test_a_projection_before_the_loop_saves_a_product_a_step():
    before, after = counts("written_out", "forward"), counts("projected", "forward")
    assert before["addmm"] - after["addmm"] == WORKLOAD.seq_len - 1


def test_training_has_the_operations_of_the_backward_pass_too():
    forward, training = counts("cells", "forward"), counts("cells", "training")
    assert sum(training.values()) > 2 * sum(forward.values())
    assert training["tanh_backward"] == 2 * WORKLOAD.seq_len


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")
def test_the_fused_lstm_is_one_operation_of_onednn():
    assert counts("fused", "forward")["mkldnn_rnn_layer"] == 1


def test_what_is_made_of_others_or_only_looks_is_known():
    assert _only_calls_others("aten", "linear")
    assert not _only_calls_others("aten", "addmm")
    assert _only_looks("aten", "t")
    assert _only_looks("aten", "select")
    assert not _only_looks("aten", "add_")  # which writes into what it gives
    assert not _only_looks("aten", "tanh")


def test_spans_that_overlap_count_once():
    assert _covered([(0, 2), (1, 3), (5, 6), (5.5, 5.7)]) == 4
    assert _covered([]) == 0


def test_modules_of_other_kinds_are_counted_alike():
    torch.manual_seed(0)
    step = Step(nn.GRU(4, 6), torch.randn(3, 2, 4), torch.randn(3, 2, 6), "forward")
    found, _ = operations({"mine": step})
    assert sum(each.count for each in found if each.name == "addmm") >= 3
