"""Operation counts against torch's own counter, saved bytes against what a graph is known to keep."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unrolled.cells import CELLS
from unrolled.implementations import implement, load
from unrolled.networks.workload import Workload
from unrolled.speed.memory import peak_bytes, saved_bytes
from unrolled.speed.operations import flops
from unrolled.speed.step import Step


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"num_layers": 3},
        {"num_layers": 2, "bidirectional": True},
        {"hidden_size": (6, 4)},
        {"batch_size": 1},
        {"bias": False},
        {"batch_first": True},
        {"packed": True, "batch_size": 5},
        {"dropout": 0.5, "num_layers": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["cells", "hoisted"])
def test_flops_are_those_that_torch_counts(name, cell, phase, shape):
    workload = Workload(
        cell=cell, **{"input_size": 5, "hidden_size": 6, "batch_size": 3, "seq_len": 4, **shape}
    )
    given = workload.as_called(workload.input())
    step = Step(implement(load(name), workload.reference()), given, workload.target(), phase)
    counter = FlopCounterMode(display=False)
    with counter:
        step()
    assert counter.get_total_flops() == flops(workload, phase)


def test_saved_bytes_of_a_product_of_two_leaves_are_none_and_of_their_tanh_its_output():
    a, b = (torch.randn(100, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert saved_bytes(lambda: a * b, [a, b]) == 0
    assert saved_bytes(lambda: a * b, []) == 1600
    assert saved_bytes(lambda: torch.tanh(a), [a]) == 800


def test_views_of_one_buffer_count_once():
    a = torch.randn(100, dtype=torch.float64, requires_grad=True)

    def forward():
        shared = 2 * a
        return sum(part.square().sum() for part in shared.chunk(4))

    assert saved_bytes(forward, [a]) == 800


@pytest.mark.parametrize("name", ["fused", "cells", "hoisted"])
@pytest.mark.parametrize("cell", CELLS)
def test_saved_bytes_are_the_same_at_every_call_and_grow_linearly_with_length(name, cell):
    def saved(seq_len):
        workload = Workload(cell=cell, input_size=8, hidden_size=8, batch_size=4, seq_len=seq_len)
        step = Step(
            implement(load(name), workload.reference()), workload.input(), workload.target(), "training"
        )
        counts = {
            saved_bytes(step.loss, [step.input, step.target, *step.module.parameters()]) for _ in range(3)
        }
        assert len(counts) == 1
        return counts.pop()

    short, middle, long = saved(8), saved(16), saved(24)
    page = 4096 if name == "fused" else 0  # oneDNN rounds its workspace up to whole pages
    assert middle > short
    assert abs((middle - short) - (long - middle)) <= page


@pytest.mark.cuda
def test_peak_bytes_count_what_a_call_allocates():
    assert peak_bytes(lambda: torch.empty(1 << 20, dtype=torch.uint8, device="cuda")) == 1 << 20


@pytest.mark.cuda
@pytest.mark.parametrize("phase", ["forward", "training"])
def test_a_step_on_cuda_is_finished_when_it_returns_and_has_an_event_time(phase):
    workload = Workload(device="cuda")
    step = Step(workload.reference(), workload.input(), workload.target(), phase)
    for _ in range(3):
        step.reset()
        step()
        assert torch.cuda.current_stream().query()
        step.note_event()
    assert len(step.event_seconds) == 3
    assert all(0 < seconds < 60 for seconds in step.event_seconds)


def test_a_forward_step_is_inference_and_a_training_step_leaves_every_gradient():
    workload = Workload(hidden_size=8, seq_len=4)
    seen = []

    class Spy(nn.LSTM):
        def forward(self, *args):
            seen.append(torch.is_inference_mode_enabled())
            return super().forward(*args)

    spy = Spy(64, 8)
    forward, training = (
        Step(spy, workload.input(), workload.target(), phase) for phase in ("forward", "training")
    )
    forward()
    assert all(p.grad is None for p in spy.parameters())
    training()
    assert seen == [True, False]
    assert all(p.grad is not None for p in [*spy.parameters(), training.input])
    training.reset()
    assert all(p.grad is None for p in [*spy.parameters(), training.input])
