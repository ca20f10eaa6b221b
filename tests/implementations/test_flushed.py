"""`flushed`: denormal numbers are 0 while it runs, forward and back, and nothing stays changed."""

import pytest
import torch
from torch import nn

from unrolled import Workload, race
from unrolled.implementations import Implementation, load
from unrolled.speed.step import Step
from unrolled.torch_settings import flushes_denormals

pytestmark = pytest.mark.skipif(
    not torch.set_flush_denormal(False), reason="this processor cannot flush denormals"
)


class Asks(nn.Module):
    """Notes what the settings are, forward and back."""

    def __init__(self):
        super().__init__()
        self.rnn, self.seen = nn.RNN(3, 4), []

    def forward(self, x, hx=None):
        self.seen.append(flushes_denormals())
        output, h = self.rnn(x, hx)
        output.register_hook(lambda gradient: self.seen.append(flushes_denormals()))
        return output, h


@pytest.mark.parametrize("before", [False, True])
def test_denormals_are_0_inside_and_afterwards_as_before(before):
    module = Asks()
    torch.set_flush_denormal(before)
    try:
        Step(module, torch.randn(5, 2, 3), torch.randn(5, 2, 4), "training", around=load("flushed").around)()
        assert module.seen == [True, True]
        assert flushes_denormals() == before
    finally:
        torch.set_flush_denormal(False)


def test_settings_are_put_back_after_an_error_too():
    with pytest.raises(ZeroDivisionError), load("flushed").around():
        raise ZeroDivisionError
    assert not flushes_denormals()


def test_it_is_raced_as_the_same_work_and_is_no_change_of_settings():
    workload = Workload(cell="rnn_tanh", hidden_size=8, input_size=4, batch_size=2, seq_len=6)
    found = race(workload, "training", "flushed", budget=0.02, passes=2)
    assert (found.status, found.notes) == ("ok", ())


def test_anybody_s_implementation_may_have_something_around_its_calls():
    entered = []

    class Around:
        def __enter__(self):
            entered.append("in")

        def __exit__(self, *error):
            entered.append("out")

    mine = Implementation("mine", lambda reference: reference, around=Around)
    assert race(Workload(hidden_size=4, seq_len=3), "forward", mine, budget=0.01, passes=1).status == "ok"
    assert entered[:2] == ["in", "out"]
    assert entered.count("in") == entered.count("out") > 10
